"""A prompt, its rows, the passes in which they are generated, and the texts that their outputs become.

`plan` makes a `Plan` of a `Prompt`: the rows, which are the sentences of a translation or the texts of a summarizer.
`RowPasses` says which rows to generate next, until the protected spans are right. A caller generates the rows:
`run_all` does it on its own thread, the service through the queue of a variant. `Plan.checked` assembles the final
outputs, and finds what may be wrong with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal, TypeVar

from slimseq.inference.generator import OnOverflow, TextGenerator, TextOutput, joined
from slimseq.inference.text.errors import TextTooLong
from slimseq.inference.text.formats.document import Document, DocumentOutput
from slimseq.inference.text.formats.tags import without_atoms
from slimseq.inference.text.glossary import Glossary
from slimseq.inference.text.language import choose_languages
from slimseq.inference.text.names import NameFinder, lost_names, misspelled_names, no_names
from slimseq.inference.text.passes import Input, Passes
from slimseq.inference.text.sentences import Check, Segment, SegmentedText, unchecked
from slimseq.inference.text.spans import overlaps
from slimseq.inference.text.warnings import Compared, TextWarning, is_repairable, output_warnings, untranslated
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task

LongInput = Literal["truncate", "map_reduce"]
Format = Literal["text", "html", "markdown"]

# What there is for each row, such as its encoding or its output.
Row = TypeVar("Row")


@dataclass
class Prompt:
    """Texts and how to generate from them. None means the default of the artifact.

    Args:
        on_overflow: what to do with a text that exceeds the model's context window.
        long_input: whether such a document is truncated or summarized part by part.
        prefix: text before each input.
        format: the format of the texts. The markup of HTML and Markdown is kept in translations, and removed for
            summaries.
        protect: whether numbers, URLs and their like must not change. Translation only.
        repair: whether an output is generated again if it has a warning that a further try may remove.
        speculate: whether greedy search may draft tokens, which changes no output.
        glossary: terms, and what stands for them in translations. Translation only. A string is the name of a
            glossary, which only the service knows.
        keep: names that must not change. Translation only.
    """

    texts: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
    format: Format = "text"
    protect: bool = True
    repair: bool = True
    speculate: bool = True
    glossary: Glossary | Mapping[str, str] | str | None = None
    keep: Sequence[str] = ()

    @cached_property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    def languages(self) -> tuple[str | None, str | None] | None:
        return (self.source, self.target) if self.source or self.target else None

    def place_of(self, index: int) -> str:
        """Returns how errors name one of the texts."""
        return f"text[{index}]" if len(self.texts) > 1 else "text"


@dataclass
class Plan:
    """The rows of a request, in reading order over all texts, and how their outputs are joined.

    Args:
        texts: the texts to generate from, in segments. If the prompt has markup, these are the texts of its documents.
        rows: one for each segment, in the same order.
        plain: the texts of the prompt without markup.
        passes: by row, the passes of a sentence with spans or inline elements. Their first input is the row. They run
            once, by `RowPasses`.
        documents: one for each text of a translation with markup, else None.
        find_names: finds the names that the model cannot write.
    """

    manifest: Manifest
    prompt: Prompt
    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    plain: Sequence[str]
    passes: dict[int, Passes] = field(default_factory=dict)
    documents: Sequence[Document] | None = None
    find_names: NameFinder = no_names

    @property
    def segments(self) -> list[Segment]:
        """The segments of all texts, one for each row."""
        return [segment for text in self.texts for segment in text.segments]

    def segments_of(self, rows: Sequence[Row]) -> list[list[tuple[Segment, Row]]]:
        """Returns the segments of each text of the prompt, each with its value in `rows`."""
        pairs_by_text = [list(zip(text.segments, own, strict=True)) for text, own in _groups(rows, self.texts)]
        if self.documents is None:
            return pairs_by_text
        # A document is one text of the prompt, and has several texts here.
        remaining = iter(pairs_by_text)
        pairs_by_document: list[list[tuple[Segment, Row]]] = []
        for document in self.documents:
            own_texts = islice(remaining, len(document.texts))
            pairs_by_document.append([pair for pairs in own_texts for pair in pairs])
        return pairs_by_document

    def check_fits(self, generator: TextGenerator) -> None:
        """Raises `TextTooLong` if a row exceeds what the model reads."""
        for index, pairs in enumerate(self.segments_of(self.rows)):
            for _, row in pairs:
                if not row.is_truncated:
                    continue
                more = "" if row.is_counted else " or more"
                reason = f"has {row.full_length} tokens{more} and the model reads at most {generator.max_input_tokens}"
                raise TextTooLong(f"{self.prompt.place_of(index)}: the text {reason}")

    def assemble(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        texts = [join_outputs(text, own) for text, own in _groups(outputs, self.texts)]
        if self.documents is None:
            return texts
        assembled: list[TextOutput] = []
        remaining = iter(texts)
        for document in self.documents:
            check()
            assembled.append(document.assemble(list(islice(remaining, len(document.texts)))))
        return assembled

    def checked(
        self, rows: Sequence[TextOutput], check: Check = unchecked
    ) -> tuple[list[TextOutput], list[list[TextWarning]]]:
        """Returns the output of each text, and the warnings about it, given the outputs of the rows."""
        outputs = self.assemble(rows, check)
        warnings: list[list[TextWarning]] = []
        for text, parts, output in zip(self.plain, self.compared(rows, outputs), outputs, strict=True):
            check()
            warnings.append(output_warnings(self.manifest.task, self.manifest.languages, text, parts))
            if isinstance(output, DocumentOutput) and output.untranslated:
                warnings[-1].append(untranslated(output.untranslated))
        return self.with_alternatives(rows, outputs, check), warnings

    def needs_repair(self, warnings: Sequence[Sequence[TextWarning]]) -> bool:
        return self.prompt.repair and any(map(is_repairable, warnings))

    def with_alternatives(
        self, rows: Sequence[TextOutput], outputs: list[TextOutput], check: Check = unchecked
    ) -> list[TextOutput]:
        """Adds the alternatives of the texts, each another text.

        The k-th alternative of a text has the k-th one of each row, and the best output of a row that has fewer.
        """
        if self.options.num_return_sequences == 1:
            return outputs
        # For each text of the prompt, its different outputs, the best one first.
        outputs_by_text = [{output.text: output} for output in outputs]
        for rank in range(self.options.num_return_sequences - 1):
            ranked = [row.alternatives[rank] if rank < len(row.alternatives) else row for row in rows]
            for different, other in zip(outputs_by_text, self.assemble(ranked, check), strict=True):
                different.setdefault(other.text, other)
        pairs = zip(outputs, outputs_by_text, strict=True)
        return [replace(output, alternatives=tuple(different.values())[1:]) for output, different in pairs]

    def compared(self, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]) -> list[list[Compared]]:
        """Returns what is compared for each text: its sentences with their translations, or itself with its summary."""
        pairs_by_text = self.segments_of(rows)
        if self.manifest.task is Task.TRANSLATION:
            return [[self.compared_part(segment, row) for segment, row in pairs] for pairs in pairs_by_text]
        # A summary is compared with the whole text, even if it was made of the summaries of parts.
        summaries: list[list[Compared]] = []
        for text, output, pairs in zip(self.plain, outputs, pairs_by_text, strict=True):
            summary = Compared(
                text,
                output.text,
                output.finish_reason,
                output.truncated,
                names=tuple(each.text for each in misspelled_names(text, output.text)),
                parts=tuple(Compared(part.text, row.text, row.finish_reason) for part, row in pairs),
            )
            summaries.append([summary])
        return summaries

    def compared_part(self, segment: Segment, output: TextOutput) -> Compared:
        """Returns what is compared for one row: its segment and its output, what is lost, and misspelled names."""
        source, text, lost = segment.text, output.text, output.lost
        if self.documents is not None:
            source, text = without_atoms(source), without_atoms(text)
            lost = tuple(filter(without_atoms, lost))
        # The passes of a protected segment have compared its numbers already. None: the warnings compare them.
        is_checked = self.prompt.protect and segment.spans
        lost_or_unchecked = lost if is_checked or lost else None

        places = [(span.start, span.end) for span in segment.spans]
        misspelled = misspelled_names(segment.text, output.text)
        names = [each.text for each in misspelled if not overlaps((each.start, each.end), places)]
        if not self.prompt.protect:
            names += [each for each in lost_names(self.find_names(source), text) if each not in names]
        return Compared(source, text, output.finish_reason, output.truncated, lost_or_unchecked, tuple(names))


def _groups(rows: Sequence[Row], texts: Sequence[SegmentedText]) -> list[tuple[SegmentedText, list[Row]]]:
    """Returns each text with the values of its rows."""
    remaining = iter(rows)
    return [(text, [*islice(remaining, len(text.segments))]) for text in texts]


def join_outputs(text: SegmentedText, outputs: Sequence[TextOutput]) -> TextOutput:
    """Joins the outputs of a text's segments, and their scores, which then count from the start of the text."""
    if len(outputs) == 1 and not text.after and not text.segments[0].before:
        return outputs[0]
    scores, position = [], 0
    for segment, output in zip(text.segments, outputs, strict=True):
        position += len(segment.lead(output.text))
        scores += [each._replace(start=each.start + position, end=each.end + position) for each in output.scores]
        position += len(output.text)
    return replace(joined(text.join([output.text for output in outputs]), outputs), scores=tuple(scores))


@dataclass
class RowPasses:
    """The passes of rows of a plan, side by side.

    A caller generates the rows that `begin` and `go_on` return, until there are no more. `outputs` has the final
    outputs by row.
    """

    generator: TextGenerator
    plan: Plan
    outputs: dict[int, TextOutput] = field(default_factory=dict)
    # The rows that wait for outputs, each with the number of its outputs.
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = choose_languages(self.generator, self.plan.prompt.source, self.plan.prompt.target)

    @property
    def in_order(self) -> list[TextOutput]:
        return [self.outputs[row] for row in range(len(self.plan.rows))]

    def begin(self, outputs: Iterable[tuple[int, TextOutput]], check: Check = unchecked) -> list[Encoding]:
        """Takes the first outputs of rows, by row. Returns the rows of the next pass, none if all is right."""
        first: list[tuple[int, Sequence[TextOutput]]] = []
        for row, output in outputs:
            if row in self.plan.passes:
                first.append((row, [output]))
            else:
                self.outputs[row] = output.cut(self.plan.prompt.stop)
        return self._advance(first, check)

    def go_on(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[Encoding]:
        """Takes the outputs of the last pass. Returns the rows of the next one, none if all is right."""
        remaining = iter(outputs)
        received = [(row, list(islice(remaining, count))) for row, count in self._waiting]
        return self._advance(received, check)

    def _advance(self, received: Sequence[tuple[int, Sequence[TextOutput]]], check: Check) -> list[Encoding]:
        self._waiting = []
        inputs: list[Input] = []
        for row, outputs in received:
            check()
            passes = self.plan.passes[row]
            passes.receive(outputs)
            if passes.inputs:
                self._waiting.append((row, len(passes.inputs)))
                inputs += passes.inputs
            else:
                self.outputs[row] = passes.output.cut(self.plan.prompt.stop)
        return self._encoded(inputs) if inputs else []

    def _encoded(self, inputs: Sequence[Input]) -> list[Encoding]:
        texts = [each for each in inputs if isinstance(each, str)]
        encoded = iter(self.generator.encode_many(texts))
        return [next(encoded) if isinstance(each, str) else each for each in inputs]


def run_all(
    generator: TextGenerator, planned: Plan, batch_rows: int, first: Sequence[TextOutput] | None = None
) -> RowPasses:
    """Generates all passes of a plan, without a queue. Rows of similar length are in a batch together.

    `first` has the outputs of the rows if they were generated before, so that only the further passes are.
    """

    def generate(rows: Sequence[Encoding]) -> list[TextOutput]:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        found: dict[int, TextOutput] = {}
        for start in range(0, len(order), batch_rows):
            batch = order[start : start + batch_rows]
            found |= zip(batch, generator.generate([rows[row] for row in batch], planned.options), strict=True)
        return [found[row] for row in range(len(rows))]

    passes = RowPasses(generator, planned)
    rows = passes.begin(enumerate(generate(planned.rows) if first is None else first))
    while rows:
        rows = passes.go_on(generate(rows))
    return passes
