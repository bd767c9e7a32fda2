"""Plans a prompt for one generator: texts to encoded rows, checked options, and row outputs back to texts."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest, TextTooLong, UnsupportedLanguages
from slimseq.app.http.validation import describe
from slimseq.app.serving.documents.formats.document import Document
from slimseq.app.serving.documents.formats.tags import atoms_of, without_atoms
from slimseq.app.serving.documents.long_input.parting import parting
from slimseq.app.serving.documents.planner import finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.reading import place_of, reading, without_markup
from slimseq.app.serving.documents.segmenter import Segment, SegmentedText, splitting, whole
from slimseq.app.serving.documents.tokenizing import encoding
from slimseq.inference.generator import TextGenerator, TextOutput, mean_log_probability
from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.protection.localization import render_all
from slimseq.inference.text.protection.passes import Passes, regenerate
from slimseq.inference.text.protection.spans import has_unprotected_words
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InputTooLong, InvalidOptions
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task

# Planning so few takes about a millisecond, as does the switch to another thread when cores are busy.
SHORT_CHARACTERS = 4000
# To read so many with markup, or to write them, takes at most 30 milliseconds.
SHORT_MARKUP_CHARACTERS = 500


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

    def segments_of(self, rows: Sequence[TextOutput]) -> Iterator[list[tuple[Segment, TextOutput]]]:
        """Yields the segments of each text of the prompt, with the outputs of their rows."""
        counts = [1] * len(self.texts)
        if self.documents is not None:
            counts = [len(document.texts) for document in self.documents]
        groups = _groups(rows, self.texts)
        for count in counts:
            yield [pair for text, own in islice(groups, count) for pair in zip(text.segments, own, strict=True)]

    def assemble(self, outputs: Sequence[TextOutput]) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        return finished(self.assembling(outputs))

    def assembling(self, outputs: Sequence[TextOutput]) -> Generator[None, None, list[TextOutput]]:
        """Joins outputs as `assemble` does, in small steps."""
        texts = [_joined(text.join([output.text for output in own]), own) for text, own in _groups(outputs, self.texts)]
        if self.documents is None:
            return texts
        assembled: list[TextOutput] = []
        start = 0
        for document in self.documents:
            own = texts[start : start + len(document.texts)]
            start += len(own)
            written = document.write([output.text for output in own])
            yield
            whole = _joined(written.text, own)
            # Atoms are put back. Words of elements are translated a second time, alone.
            lost = tuple(dict.fromkeys(each for each in whole.lost if without_atoms(each)))
            assembled.append(DocumentOutput(**vars(whole) | {"lost": lost}, untranslated=written.untranslated))
        return assembled


@dataclass(frozen=True)
class DocumentOutput(TextOutput):
    """The output for a document, and the texts in it that stayed as they were, so that its structure is kept."""

    untranslated: tuple[str, ...] = ()


def _groups(
    outputs: Sequence[TextOutput], texts: Sequence[SegmentedText]
) -> Iterator[tuple[SegmentedText, Sequence[TextOutput]]]:
    """Yields each text with the outputs of its rows."""
    start = 0
    for text in texts:
        yield text, outputs[start : start + len(text.segments)]
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


def is_short(prompt: Prompt) -> bool:
    """Whether planning takes a few milliseconds at most."""
    most = SHORT_CHARACTERS if prompt.format == "text" else SHORT_MARKUP_CHARACTERS
    return prompt.long_input == "truncate" and prompt.characters <= most


def planning(generator: TextGenerator, prompt: Prompt, max_rows: int) -> Generator[None, None, Plan]:
    """Plans a prompt in small steps.

    Args:
        generator: generates the outputs.
        prompt: texts and options.
        max_rows: maximum number of rows of a request.

    Returns:
        The plan.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
        InvalidRequest: the texts have too many sentences, or the prefix is too long.
        MarkupTooComplex, UnclosedMarkup: the markup of a text cannot be read.
        UnsupportedLanguages: the artifact translates other languages.
        TextTooLong: a text exceeds the context window and the prompt forbids truncation.
    """
    manifest = generator.manifest
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    given = prompt
    documents: list[Document] | None = None
    plain = prompt.texts
    if prompt.format != "text":
        if manifest.task is Task.TRANSLATION:
            documents = yield from reading(prompt)
            plain = [document.plain for document in documents]
            passages = [text for document in documents for text in document.texts]
            prompt = replace(prompt, texts=passages, ranges=[atoms_of(text) for text in passages])
        else:
            prompt = yield from without_markup(prompt)
            plain = prompt.texts
    texts: list[SegmentedText] = []
    passes: dict[int, Passes] = {}
    if manifest.task is Task.TRANSLATION:
        source, target = _languages(manifest, prompt)
        rows_left = max_rows
        for index, text in enumerate(prompt.texts):
            ranges = prompt.ranges[index] if prompt.ranges else ()
            work = splitting(text, source, is_protected=prompt.protect, ranges=ranges)
            segmented = yield from _bounded(work, rows_left, max_rows)
            texts.append((yield from _without_wordless(segmented, source, target, is_protected=prompt.protect)))
            rows_left -= len(texts[-1].segments)
    elif prompt.long_input == "map_reduce":
        for text in prompt.texts:
            texts.append((yield from parting(generator, text, prompt.prefix)))
    else:
        texts = [whole(text) for text in prompt.texts]
    places = [index for index, text in enumerate(texts) for _ in text.segments]
    owners = list(range(len(texts)))
    if documents is not None:
        owners = [index for index, document in enumerate(documents) for _ in document.texts]
    parts: list[str] = []
    for segment in (segment for text in texts for segment in text.segments):
        if segment.spans:
            passes[len(parts)] = regenerate(segment.text, segment.spans, source, target)
            parts += next(passes[len(parts)])
            yield
        else:
            parts.append(segment.text)
    if is_short(prompt):
        rows = [generator.encode(part, prompt.prefix) for part in parts]
    else:
        rows = yield from encoding(generator, parts, prompt.prefix)
    if prompt.on_overflow == "error":
        for index, row in zip(places, rows, strict=True):
            try:
                generator.check_fits(row)
            except InputTooLong as error:
                raise TextTooLong(f"{place_of(given, owners[index])}: {error}") from error
    return Plan(texts, rows, options, plain, prompt.stop, passes, documents)


def _without_wordless(
    text: SegmentedText, source: str, target: str, *, is_protected: bool
) -> Generator[None, None, SegmentedText]:
    """Adds segments without words, such as numbers, to what is between the others: no model reads them."""
    segments: list[Segment] = []
    pending: list[str] = []
    for segment in text.segments:
        if (segment.spans or is_protected) and not has_unprotected_words(segment.text, segment.spans):
            pending += [segment.before, render_all(segment.text, segment.spans, source, target)]
            yield
        else:
            segments.append(replace(segment, before="".join([*pending, segment.before])) if pending else segment)
            pending = []
    return SegmentedText(segments, "".join([*pending, text.after]))


def _bounded(work: Generator[int, None, SegmentedText], left: int, most: int) -> Generator[None, None, SegmentedText]:
    """Splits a text, unless it has more segments than allowed."""
    while True:
        try:
            count = next(work)
        except StopIteration as end:
            segmented: SegmentedText = end.value
            return segmented
        if count > left:
            raise InvalidRequest(f"text: has more than {most} segments, the most that are allowed")
        yield


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
