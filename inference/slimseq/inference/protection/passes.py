"""The passes of a sentence with spans: what to translate next, given the outputs so far, until the spans are right.

1. The sentence, with placeholders for what models never copy. Numbers are left: most models copy most of them. Numbers
   that are wrong in the output are replaced if it is sure which is which.
2. If spans are still wrong: the sentence, unless it is long, with other placeholders, for the wrong spans too.
3. If placeholders are lost: the words between the spans, each part alone, with the spans between them. Nothing is lost.

Each pass is a row like any other, so an output depends on its sentence and the options only. docs/decisions/024 has the
measurements behind this order.
"""

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from slimseq.inference.generator import TextOutput, mean_log_probability
from slimseq.inference.protection.checking import check, replaced
from slimseq.inference.protection.localization import Rendering, is_exact, renderings_of
from slimseq.inference.protection.masking import Masked, mask
from slimseq.inference.protection.spans import Kind, Span, has_words

Passes = Generator[list[str], Sequence[TextOutput], TextOutput]

# Models do not copy longer numbers, such as one with a thousand separators.
MAX_COPIED_CHARACTERS = 40
# Placeholders, the first that are free are taken. docs/decisions/024: how often models copy these and others.
NAMES = ("Peter", "Tom", "Maria", "Jackson", "David", "Robert", "Michael", "Thomas", "Daniel", "Martin")
NUMBERS = tuple(str(112 + 137 * step % 887) for step in range(64))

# Longer sentences have no second pass: it takes long, and rarely helps. Their parts are long enough to be understood.
MAX_WORDS_AGAIN = 24
# From the first letter or digit of a text to the last one.
_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_ENDING = re.compile(r"[.!?]+$")


def passing(text: str, spans: Sequence[Span], source: str, target: str) -> Passes:
    """Translates a sentence in passes.

    Args:
        text: the sentence.
        spans: what has to be in its translation, in reading order.
        source: language code of the sentence.
        target: language code of the output.

    Yields:
        The texts to translate. In the first pass there is one. It is sent their outputs.

    Returns:
        The output of the sentence. `lost` has the spans that are not in its text, which happens only where
        `max_new_tokens` is less than the sentence needs. Its tokens are those of all passes, its input tokens those of
        the first one.
    """
    start, end, first, last = 0, len(text), 0, len(spans)
    # Tags around the sentence are not read by the model.
    while first < last and spans[first].kind is Kind.TAG and not text[start : spans[first].start].strip():
        start, first = spans[first].end, first + 1
    while first < last and spans[last - 1].kind is Kind.TAG and not text[spans[last - 1].end : end].strip():
        end, last = spans[last - 1].start, last - 1
    start, end = end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())
    inner = [span.moved(-start) for span in spans[first:last]]
    output = yield from _passes_of_words(text[start:end], inner, source, target)
    return replace(output, text=text[:start] + output.text + text[end:])


def _passes_of_words(text: str, spans: Sequence[Span], source: str, target: str) -> Passes:
    """Translates a sentence in passes, as `passing` does."""
    renderings = renderings_of(text, spans, source, target)
    sentence = Sentence(text, spans, renderings)
    chosen = [index for index, span in enumerate(spans) if is_exact(span) or len(span.text) > MAX_COPIED_CHARACTERS]
    generated: list[TextOutput] = []
    for placeholders in (NAMES, NUMBERS):
        masked = sentence.masked(chosen, placeholders) or sentence.masked(chosen, NUMBERS)
        if masked is None:
            # The sentence has all placeholders. Its first pass is then without any.
            if generated:
                break
            chosen, masked = [], Masked(text, ())
        [output] = yield [masked.text]
        generated.append(output)
        restored, lost = sentence.restored(chosen, masked, output.text)
        # The request allows fewer tokens than the sentence has.
        is_cut = output.finish_reason == "length" and output.output_tokens < output.input_tokens
        if not lost or is_cut:
            return _of_all(generated, output, restored, tuple(spans[index].text for index in sorted(lost)))
        if len(text.split()) > MAX_WORDS_AGAIN:
            break
        chosen = sorted({*chosen, *lost})
    parts = sentence.parts
    outputs = yield [part.words for part in parts if part.words]
    return _joined(parts, renderings, generated, outputs)


@dataclass(frozen=True)
class _Part:
    """A part of a sentence between two spans: its words, and what is before and after them."""

    before: str
    words: str
    after: str


@dataclass(frozen=True)
class Sentence:
    """A sentence, its spans, and how they read in the target language."""

    text: str
    spans: Sequence[Span]
    renderings: Sequence[Rendering]

    def masked(self, chosen: Sequence[int], placeholders: Sequence[str]) -> Masked | None:
        """Returns the sentence with placeholders for the chosen spans, None if there are too few of them."""
        spans = [self.spans[index] for index in chosen]
        return mask(self.text, spans, [self.renderings[index] for index in chosen], placeholders)

    def restored(self, chosen: Sequence[int], masked: Masked, output: str) -> tuple[str, set[int]]:
        """Returns the text of an output with its spans, and the places of the spans that are not in it."""
        others = [index for index in range(len(self.spans)) if index not in chosen]
        found = check(output, [self.renderings[index] for index in others])
        missing = {others[index] for index in found.missing}
        if found.absent and (text := replaced(output, found)) is not None:
            output, missing = text, set()
        text, lost = masked.restored(output)
        return text, missing | {chosen[index] for index in lost}

    @property
    def parts(self) -> list[_Part]:
        """The parts of the sentence around its spans: one more than spans."""
        edges = [0, *(edge for span in self.spans for edge in (span.start, span.end)), len(self.text)]
        parts = []
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            text = self.text[start:end]
            words = _WORDS.search(text) if has_words(text, ()) else None
            parts.append(_Part(text[: words.start()], words[0], text[words.end() :]) if words else _Part(text, "", ""))
        return parts


def _joined(
    parts: Sequence[_Part], renderings: Sequence[Rendering], before: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> TextOutput:
    """Returns the translations of parts with the spans between them."""
    translated = iter(outputs)
    pieces = []
    for index, part in enumerate(parts):
        words = _ENDING.sub("", next(translated).text) if part.words else ""
        pieces += [part.before, words, part.after]
        pieces += [renderings[index].text] if index < len(renderings) else []
    whole = _of_all([*before, *outputs], outputs[0], "".join(pieces), ())
    is_cut = any(each.finish_reason == "length" for each in outputs)
    return replace(
        whole,
        finish_reason="length" if is_cut else "eos",
        truncated=any(each.truncated for each in outputs),
        mean_log_probability=mean_log_probability(outputs),
    )


def _of_all(generated: Sequence[TextOutput], output: TextOutput, text: str, lost: tuple[str, ...]) -> TextOutput:
    """Returns the last output with another text, and the tokens of all."""
    return replace(
        output,
        text=text,
        input_tokens=generated[0].input_tokens,
        output_tokens=sum(each.output_tokens for each in generated),
        lost=lost,
    )
