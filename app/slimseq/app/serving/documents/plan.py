"""Plans a prompt for one generator: texts to encoded rows, checked options, and row outputs back to texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import TypeVar

from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest, MarkupTooComplex, TextTooLong, UnclosedMarkup, UnsupportedLanguages
from slimseq.app.http.problems import describe
from slimseq.app.serving.documents.planner import Size
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.inference.generator import TextGenerator, TextOutput, mean_log_probability
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.formats.document import Document
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.formats.tags import atoms_of, without_atoms
from slimseq.inference.text.long_input import divide
from slimseq.inference.text.protection.localization import render_all
from slimseq.inference.text.protection.passes import Passes, regenerate
from slimseq.inference.text.protection.spans import has_unprotected_words
from slimseq.inference.text.segmenter import Check, Segment, SegmentedText, split_sentences, unchecked, whole
from slimseq.inference.text.warnings.checks import Compared
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InputTooLong, InvalidOptions
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task

# Planning so few takes about a millisecond, as does the switch to another thread when cores are busy.
SHORT_CHARACTERS = 4000
# To read so many with markup, or to write them, takes at most 30 milliseconds.
SHORT_MARKUP_CHARACTERS = 500
# Planning so few takes about 0.1 s.
USUAL_CHARACTERS = 50_000
# Tokenized at once, between two checks.
TEXTS_AT_ONCE = 64

Row = TypeVar("Row")


@dataclass(frozen=True)
class Plan:
    """The rows of a request, in reading order over all texts, and how their outputs are joined.

    `passes` has, by row, the passes of a sentence with protected spans, whose first one is the row.
    `slimseq.app.serving.documents.protection` runs the others.

    If the prompt has markup, `texts` are those of the documents, one after the other. `plain` has the texts of the
    prompt without their markup.
    """

    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    plain: Sequence[str]
    stop: tuple[str, ...] = ()
    passes: dict[int, Passes] = field(default_factory=dict)
    documents: Sequence[Document] | None = None

    def segments_of(self, rows: Sequence[Row]) -> Iterator[list[tuple[Segment, Row]]]:
        """Yields the segments of each text of the prompt, with what their rows have."""
        counts = [1] * len(self.texts)
        if self.documents is not None:
            counts = [len(document.texts) for document in self.documents]
        groups = _groups(rows, self.texts)
        for count in counts:
            yield [pair for text, own in islice(groups, count) for pair in zip(text.segments, own, strict=True)]

    def check_fits(self, generator: TextGenerator, prompt: Prompt) -> None:
        """Checks that no row was truncated.

        Raises:
            TextTooLong: one was. Names the text.
        """
        for index, pairs in enumerate(self.segments_of(self.rows)):
            for _, row in pairs:
                try:
                    generator.check_fits(row)
                except InputTooLong as error:
                    raise TextTooLong(f"{_place(prompt, index)}: {error}") from error

    def assemble(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        texts = [_joined(text.join([output.text for output in own]), own) for text, own in _groups(outputs, self.texts)]
        if self.documents is None:
            return texts
        assembled: list[TextOutput] = []
        left = iter(texts)
        for document in self.documents:
            check()
            own = list(islice(left, len(document.texts)))
            written = document.write([output.text for output in own])
            whole = _joined(written.text, own)
            # Atoms are put back. Words of elements are translated a second time, alone.
            lost = tuple(dict.fromkeys(each for each in whole.lost if without_atoms(each)))
            assembled.append(DocumentOutput(**vars(whole) | {"lost": lost}, untranslated=written.untranslated))
        return assembled


@dataclass(frozen=True)
class DocumentOutput(TextOutput):
    """The output for a document, and the texts in it that stayed as they were, so that its structure is kept."""

    untranslated: tuple[str, ...] = ()


def _groups(rows: Sequence[Row], texts: Sequence[SegmentedText]) -> Iterator[tuple[SegmentedText, Sequence[Row]]]:
    """Yields each text with what its rows have."""
    start = 0
    for text in texts:
        yield text, rows[start : start + len(text.segments)]
        start += len(text.segments)


def _joined(text: str, outputs: Sequence[TextOutput]) -> TextOutput:
    """Returns one output for several that became a text."""
    return TextOutput(
        text=text,
        finish_reason=_reason([output.finish_reason for output in outputs]),
        input_tokens=sum(output.input_tokens for output in outputs),
        output_tokens=sum(output.output_tokens for output in outputs),
        truncated=any(output.truncated for output in outputs),
        lost=tuple(lost for output in outputs for lost in output.lost),
        mean_log_probability=mean_log_probability(outputs),
    )


def _reason(reasons: Sequence[FinishReason]) -> FinishReason:
    """Returns the finish reason of a text: `length` or `stop` of any row counts for the text."""
    return next((reason for reason in ("length", "stop") if reason in reasons), "eos")


def compared_parts(
    task: Task, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> list[list[Compared]]:
    """Returns what is compared for each text: its sentences with their translations, or itself with its summary."""
    if task is Task.TRANSLATION:
        return [[_compared_part(prompt, *pair) for pair in pairs] for pairs in planned.segments_of(rows)]
    # A summary is compared with the whole text, also where it was made of the summaries of parts.
    return [
        [Compared(text, output.text, output.finish_reason, output.truncated)]
        for text, output in zip(planned.plain, outputs, strict=True)
    ]


def _compared_part(prompt: Prompt, segment: Segment, output: TextOutput) -> Compared:
    # What protection had to look at, it has looked at.
    lost = tuple(each for each in output.lost if without_atoms(each)) if prompt.protect and segment.spans else None
    source, text = segment.text, output.text
    if prompt.format != "text":
        source, text = without_atoms(source), without_atoms(text)
    return Compared(source, text, output.finish_reason, output.truncated, lost)


def size_of(prompt: Prompt) -> Size:
    """Returns how long planning takes."""
    short = SHORT_CHARACTERS if prompt.format == "text" else SHORT_MARKUP_CHARACTERS
    if prompt.long_input == "truncate" and prompt.characters <= short:
        return Size.SHORT
    return Size.USUAL if prompt.characters <= USUAL_CHARACTERS else Size.LONG


def plan(generator: TextGenerator, prompt: Prompt, max_rows: int, check: Check = unchecked) -> Plan:
    """Plans a prompt.

    Args:
        generator: generates the outputs.
        prompt: texts and options.
        max_rows: maximum number of rows of a request.
        check: called between texts and sentences; may raise.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
        InvalidRequest: the texts have too many sentences, or the prefix is too long.
        MarkupTooComplex, UnclosedMarkup: the markup of a text cannot be read.
        UnsupportedLanguages: the artifact translates other languages.
        TextTooLong: a text exceeds the context window and the prompt forbids truncation.
    """
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    documents = None if prompt.format == "text" else _read_documents(prompt, check)
    plain = prompt.texts if documents is None else [document.plain for document in documents]
    if generator.manifest.task is Task.TRANSLATION:
        planned = _plan_translation(generator.manifest, prompt, options, documents, plain, max_rows, check)
    else:
        if empty := [index for index, text in enumerate(plain) if not text]:
            raise InvalidRequest(f"{_place(prompt, empty[0])}: has no text beside its markup")
        planned = Plan([], [], options, plain, prompt.stop)
        for text in plain:
            is_divided = prompt.long_input == "map_reduce"
            planned.texts.append(divide(generator, text, prompt.prefix, check) if is_divided else whole(text))
    parts = [segment.text for text in planned.texts for segment in text.segments]
    for row, passes in planned.passes.items():
        [parts[row]] = next(passes)
        check()
    if size_of(prompt) is Size.SHORT:
        planned.rows.extend(generator.encode(part, prompt.prefix) for part in parts)
    else:
        for start in range(0, len(parts), TEXTS_AT_ONCE):
            check()
            planned.rows.extend(generator.encode_many(parts[start : start + TEXTS_AT_ONCE], prompt.prefix))
    if prompt.on_overflow == "error":
        planned.check_fits(generator, prompt)
    return planned


def _plan_translation(
    manifest: Manifest,
    prompt: Prompt,
    options: GenerationOptions,
    documents: Sequence[Document] | None,
    plain: Sequence[str],
    max_rows: int,
    check: Check,
) -> Plan:
    """Plans the sentences of texts, and their passes, without encoding them."""
    source, target = _languages(manifest, prompt)
    texts, ranges = prompt.texts, prompt.ranges
    if documents is not None:
        texts = [text for document in documents for text in document.texts]
        ranges = [atoms_of(text) for text in texts]
    planned = Plan([], [], options, plain, prompt.stop, documents=documents)
    rows = 0

    def check_count(count: int) -> None:
        check()
        if rows + count > max_rows:
            raise InvalidRequest(f"text: has more than {max_rows} segments, the most that are allowed")

    for text, own in zip(texts, ranges or repeat(()), strict=False):
        segmented = split_sentences(text, source, is_protected=prompt.protect, ranges=own, check=check_count)
        segmented = _without_wordless(segmented, source, target, is_protected=prompt.protect)
        planned.texts.append(segmented)
        for row, segment in enumerate(segmented.segments, rows):
            if segment.spans:
                planned.passes[row] = regenerate(segment.text, segment.spans, source, target)
        rows += len(segmented.segments)
    return planned


def _without_wordless(text: SegmentedText, source: str, target: str, *, is_protected: bool) -> SegmentedText:
    """Adds segments without words, such as numbers, to what is between the others: no model reads them."""
    segments: list[Segment] = []
    pending: list[str] = []
    for segment in text.segments:
        if (segment.spans or is_protected) and not has_unprotected_words(segment.text, segment.spans):
            pending += [segment.before, render_all(segment.text, segment.spans, source, target)]
        else:
            segments.append(replace(segment, before="".join([*pending, segment.before])) if pending else segment)
            pending = []
    return SegmentedText(segments, "".join([*pending, text.after]))


def _read_documents(prompt: Prompt, check: Check) -> list[Document]:
    """Reads texts with markup.

    Raises:
        MarkupTooComplex, UnclosedMarkup: a text cannot be read. Names the text and the place.
    """
    documents = []
    for index, text in enumerate(prompt.texts):
        check()
        try:
            documents.append(read_html(text) if prompt.format == "html" else read_markdown(text))
        except (MarkupTooComplex, UnclosedMarkup) as error:
            raise type(error)(f"{_place(prompt, index)}: {error}") from error
    return documents


def _place(prompt: Prompt, index: int) -> str:
    """Returns the name of a text in errors."""
    return f"text[{index}]" if len(prompt.texts) > 1 else "text"


def check_prefix(generator: TextGenerator, prefix: str | None) -> None:
    """Checks that a prefix uses at most half of the context window.

    Raises:
        InvalidRequest: the prefix is longer.
    """
    limit = generator.max_input_tokens
    if prefix and (tokens := generator.encode("", prefix).full_length) > limit // 2:
        raise InvalidRequest(
            f"prefix: has {tokens} tokens; at most {limit // 2} are allowed, half of the context window"
        )


def options_of(generator: TextGenerator, prompt: Prompt) -> GenerationOptions:
    """Returns the generation options of a prompt.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
    """
    try:
        options = generator.manifest.generation.options(**prompt.options)
    except ValidationError as error:
        raise InvalidOptions(describe(error.errors())) from error
    generator.check(options)
    return options


def _languages(manifest: Manifest, prompt: Prompt) -> tuple[str, str]:
    """Returns the source and the target language.

    Raises:
        UnsupportedLanguages: the prompt names others than the artifact's.
    """
    supported = dict(zip(("source", "target"), manifest.languages, strict=False))
    for side, requested in (("source", prompt.source), ("target", prompt.target)):
        if requested is not None and requested.lower() != supported.get(side):
            raise UnsupportedLanguages(
                f"{side}: {requested!r} is not supported by {manifest.task}/{manifest.variant}, "
                f"which translates {' to '.join(manifest.languages)}"
            )
    return supported.get("source", "en"), supported.get("target", "")
