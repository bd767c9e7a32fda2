"""The passes of a sentence with spans: what to translate next, given the outputs so far, until the spans are right.

1. The sentence, with placeholders for what models never copy. Numbers stay as they are: most models copy most numbers.
   A wrong number of the output is replaced if it is sure which number of the sentence it stands for.
2. If spans are still wrong: the sentence, unless it is long, with other placeholders, for the wrong spans too.
3. If spans are still lost: the parts of the sentence, each alone, with the first two passes for its own spans. Parts
   are the clauses that have lost spans, and what is between these clauses. A single clause is divided around its lost
   spans. Parts that lose spans are divided again. After two divisions, a part is divided around all of its spans, so
   that nothing is lost.

Each pass is a row like any other, so an output depends on its sentence and the options only. docs/decisions/024 has the
measurements behind this order. A `Passes` object is plain state: what is to be generated next. It knows no model and no
thread. `rows` asks the passes of each sentence what is next, and generates it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from slimseq.inference.generator import TextOutput, joined
from slimseq.inference.text.abbreviations import write_in_full
from slimseq.inference.text.localization import Rendering, insert_renderings, is_exact, render_each
from slimseq.inference.text.masking import Masked, ProtectedSentence
from slimseq.inference.text.numbers import typed
from slimseq.inference.text.parts import WORDS, SentencePart, all_clauses, parts_around, parts_with
from slimseq.inference.text.span_rules import SpanKind
from slimseq.inference.text.spans import ProtectedSpan, Range
from slimseq.inference.tokenizer import Encoding

# A text to generate from, or one that is encoded already.
Input = str | Encoding

# Models do not copy longer numbers, such as one with many separators of thousands. They get a placeholder.
MAX_COPIED_CHARACTERS = 40
# Placeholders. A sentence takes the first ones that it does not have as words. docs/decisions/024 has how often models
# copy these and others.
NAMES = ("Peter", "Tom", "Maria", "Jackson", "David", "Robert", "Michael", "Thomas", "Daniel", "Martin")
# 64 different numbers from 112 to 998. 887 is prime, so that steps of 137 give no number twice.
NUMBERS = tuple(str(112 + (137 * step) % 887) for step in range(64))

# How often a whole sentence is translated, each time with other placeholders.
MAX_WHOLE_PASSES = 2
# Longer sentences have no second pass: it takes long, and rarely helps. Their parts are long enough to be understood.
MAX_WORDS_AGAIN = 24
# How often a sentence and its parts are divided at lost spans. After that, a part is divided at all of its spans.
MAX_PARTINGS = 2


class Passes(ABC):
    """What to generate next for one text, given the outputs so far, until its final output is there.

    A caller generates `inputs`, and gives their outputs to `receive` in the same order. It goes on until there are no
    inputs: then `output` is the final output. Passes are plain state, for one thread at a time.
    """

    def __init__(self) -> None:
        self.inputs: Sequence[Input] = ()
        self._output: TextOutput | None = None

    @property
    def output(self) -> TextOutput:
        """The final output.

        Raises:
            RuntimeError: there are inputs left to generate.
        """
        if self._output is None:
            raise RuntimeError(f"the passes have {len(self.inputs)} inputs left to generate")
        return self._output

    def receive(self, outputs: Sequence[TextOutput]) -> None:
        """Takes the outputs of `inputs`, and decides what to generate next.

        Raises:
            RuntimeError: the final output is there.
            ValueError: there are more or fewer outputs than inputs.
        """
        if self._output is not None:
            raise RuntimeError("the passes have ended")
        if len(outputs) != len(self.inputs):
            raise ValueError(f"{len(outputs)} outputs were given for {len(self.inputs)} inputs")
        self._take(outputs)

    @abstractmethod
    def _take(self, outputs: Sequence[TextOutput]) -> None:
        """Sets `inputs` to what is generated next, or calls `_finish`."""

    def _finish(self, output: TextOutput) -> None:
        self.inputs = ()
        self._output = output


class SinglePass(Passes):
    """Generates from one input. The output stays as it is."""

    def __init__(self, only_input: Input) -> None:
        super().__init__()
        self.inputs = [only_input]

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        [output] = outputs
        self._finish(output)


class StagedPasses(Passes):
    """Passes that consist of others, which run one after the other."""

    _stage: Passes
    _then: Callable[[TextOutput], None]

    def _run(self, stage: Passes, then: Callable[[TextOutput], None]) -> None:
        """Begins the next stage. `then` is called with the final output of the stage, at once if it needs no pass."""
        self._stage, self._then = stage, then
        self._go_on()

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        self._stage.receive(outputs)
        self._go_on()

    def _go_on(self) -> None:
        self.inputs = self._stage.inputs
        if not self.inputs:
            self._then(self._stage.output)


class PassesSideBySide:
    """Passes of several texts that run together. `outputs` has their final outputs once there are no inputs."""

    def __init__(self, passes: Sequence[Passes]) -> None:
        self._passes = passes

    @property
    def inputs(self) -> list[Input]:
        return [each for passes in self._passes for each in passes.inputs]

    @property
    def outputs(self) -> list[TextOutput]:
        return [passes.output for passes in self._passes]

    def receive(self, outputs: Sequence[TextOutput]) -> None:
        """Takes the outputs of `inputs`, in their order."""
        start = 0
        for passes in self._passes:
            if not passes.inputs:
                continue
            end = start + len(passes.inputs)
            passes.receive(outputs[start:end])
            start = end


class SentencePasses(StagedPasses):
    """Translates a sentence, with its spans, which are in reading order, in the translation.

    The first pass has one input, or with `in_clauses` the clauses of the sentence. `lost` of the output has the spans
    that are not in its text, only where `max_new_tokens` is less than the sentence needs. The output's tokens are the
    tokens of all passes, its input tokens the tokens of the first pass.
    """

    def __init__(
        self, text: str, spans: Sequence[ProtectedSpan], source: str, target: str, *, in_clauses: bool = False
    ) -> None:
        super().__init__()
        start, end, inner_spans = _without_wordless_ends(text, spans)
        # The model does not read what is around the words, such as tags.
        self._before, self._after = text[:start], text[end:]
        sentence = _sentence(text[start:end], [span.moved(-start) for span in inner_spans], source, target)
        parts = all_clauses(sentence) if in_clauses else []
        if any(part.words for part in parts):
            self._run(PartPasses(parts, [], 0), self._translated)
        else:
            self._run(MaskedPasses(sentence), self._translated)

    def _translated(self, output: TextOutput) -> None:
        alternatives = tuple(self._with_ends(each) for each in output.alternatives)
        self._finish(replace(self._with_ends(output), alternatives=alternatives))

    def _with_ends(self, output: TextOutput) -> TextOutput:
        return replace(output, text=self._before + output.text + self._after)


def _without_wordless_ends(text: str, spans: Sequence[ProtectedSpan]) -> tuple[int, int, Sequence[ProtectedSpan]]:
    """Returns where the words of a sentence are, without the tags and symbols around them, and the spans that stay."""
    start, end = 0, len(text)
    first, last = 0, len(spans)
    while first < last and _is_wordless(spans[first]) and not text[start : spans[first].start].strip():
        start = spans[first].end
        first += 1
    while first < last and _is_wordless(spans[last - 1]) and not text[spans[last - 1].end : end].strip():
        end = spans[last - 1].start
        last -= 1
    start, end = _trimmed(text, start, end)
    return start, end, spans[first:last]


def _trimmed(text: str, start: int, end: int) -> Range:
    """Returns a range of a text without the white space at its ends."""
    part = text[start:end]
    return end - len(part.lstrip()), start + len(part.rstrip())


def _is_wordless(span: ProtectedSpan) -> bool:
    return span.kind is SpanKind.TAG or (span.kind is SpanKind.SYMBOL and not WORDS.search(span.text))


def _sentence(text: str, spans: Sequence[ProtectedSpan], source: str, target: str) -> ProtectedSentence:
    """Returns a sentence as models read it best, and how its spans read in the target language."""
    if source == "en":
        text, spans = write_in_full(text, spans)
    renderings = render_each(text, spans, source, target)
    if source == "en":
        # Models know numbers with commas. `typed` keeps the length of a text, so that the spans stay where they are.
        typed_spans = [Rendering(span.text if is_exact(span) else typed(span.text)) for span in spans]
        text = insert_renderings(text, spans, typed_spans)
    return ProtectedSentence(text, spans, renderings)


class MaskedPasses(StagedPasses):
    """Translates a sentence with placeholders, and then in parts.

    `partings` says how often the sentence was divided before, if it is a part of another one.
    """

    def __init__(self, sentence: ProtectedSentence, partings: int = 0) -> None:
        super().__init__()
        self._sentence = sentence
        self._partings = partings
        self._generated: list[TextOutput] = []
        spans = sentence.spans
        # The places of the spans that have placeholders.
        self._masked_spans = [
            index for index, span in enumerate(spans) if is_exact(span) or len(span.text) > MAX_COPIED_CHARACTERS
        ]
        masked = sentence.masked(self._masked_spans, NAMES) or sentence.masked(self._masked_spans, NUMBERS)
        if masked is None:
            # The sentence has too many of the placeholders as words. Its first pass is then without any.
            self._masked_spans = []
            masked = Masked(sentence.text, ())
        self._translate(masked)

    def _translate(self, masked: Masked) -> None:
        self._masked = masked
        self._run(SinglePass(masked.text), self._translated)

    def _translated(self, output: TextOutput) -> None:
        self._generated.append(output)
        restored, lost = self._sentence.restored(self._masked_spans, self._masked, output.text)
        # The request allows fewer tokens than the sentence has. A further pass would be cut too.
        is_cut = output.finish_reason == "length" and output.output_tokens < output.input_tokens
        if not lost or is_cut:
            self._finish(self._restored(output, restored, lost))
            return
        masked = self._masked_again(lost)
        if masked is not None:
            self._translate(masked)
        else:
            self._run(PartPasses(self._parts(lost), self._generated, self._partings), self._finish)

    def _restored(self, output: TextOutput, text: str, lost: set[int]) -> TextOutput:
        """Returns an output with its spans restored. Of its alternatives, only those that lose no span are kept."""
        spans = self._sentence.spans
        alternatives: list[TextOutput] = []
        for each in output.alternatives:
            words, missing = self._sentence.restored(self._masked_spans, self._masked, each.text)
            if not missing:
                alternatives.append(replace(each, text=words))
        return replace(
            output,
            text=text,
            input_tokens=self._generated[0].input_tokens,
            output_tokens=sum(each.output_tokens for each in self._generated),
            # A name whose letters the model knows was left to the model, so it is not reported as lost.
            lost=tuple(spans[index].text for index in sorted(lost) if spans[index].kind is not SpanKind.NAME),
            alternatives=tuple(alternatives),
        )

    def _masked_again(self, lost: set[int]) -> Masked | None:
        """Returns the sentence with other placeholders, for the lost spans too. None if it is not translated again."""
        is_long = len(self._sentence.text.split()) > MAX_WORDS_AGAIN
        if is_long or len(self._generated) == MAX_WHOLE_PASSES:
            return None
        self._masked_spans = sorted({*self._masked_spans, *lost})
        return self._sentence.masked(self._masked_spans, NUMBERS)

    def _parts(self, lost: set[int]) -> list[SentencePart]:
        """Returns the parts to translate alone: around the lost spans, and in the end around all."""
        if self._partings == MAX_PARTINGS:
            return parts_around(self._sentence, range(len(self._sentence.spans)))
        return parts_with(self._sentence, lost)


class PartPasses(Passes):
    """Translates the parts of a sentence, each alone, and joins them.

    `generated` has the outputs of the whole sentence so far, whose tokens count too.
    """

    def __init__(self, parts: Sequence[SentencePart], generated: Sequence[TextOutput], partings: int) -> None:
        super().__init__()
        self._parts = parts
        self._generated = generated
        passes = [MaskedPasses(part.words, partings + 1) for part in parts if part.words]
        self._side_by_side = PassesSideBySide(passes)
        self._go_on()

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        self._side_by_side.receive(outputs)
        self._go_on()

    def _go_on(self) -> None:
        self.inputs = self._side_by_side.inputs
        if not self.inputs:
            self._finish(self._joined(self._side_by_side.outputs))

    def _joined(self, outputs: Sequence[TextOutput]) -> TextOutput:
        remaining = iter(outputs)
        pieces: list[str] = []
        for part in self._parts:
            # Models end a part as if it was a sentence.
            words = next(remaining).text.rstrip(".!?") if part.words else ""
            pieces += [part.before, words, part.after]
        of_all_passes = [*self._generated, *outputs]
        return replace(
            joined("".join(pieces), outputs),
            input_tokens=of_all_passes[0].input_tokens,
            output_tokens=sum(each.output_tokens for each in of_all_passes),
        )
