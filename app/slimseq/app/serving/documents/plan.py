"""Plans a prompt for one generator: texts to encoded rows, checked options, and row outputs back to texts."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest, TextTooLong, UnsupportedLanguages
from slimseq.app.http.validation import describe
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.segmenter import SegmentedText, splitting, whole
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import FinishReason
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InputTooLong, InvalidOptions
from slimseq.models_store.manifest import GenerationOptions, Manifest, Task

# Planning so few takes about a millisecond, as does the switch to another thread when cores are busy.
SHORT_CHARACTERS = 4000
# Characters that are tokenized at once: a few milliseconds, at most 30.
PIECE_CHARACTERS = 8000


@dataclass(frozen=True)
class Plan:
    """The rows of a request, in reading order over all texts, and how their outputs are joined.

    If the rows are summaries of parts of a text, `read_tokens` has the tokens of each original text, and the seconds
    are those of the summaries.
    """

    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    stop: tuple[str, ...] = ()
    read_tokens: Sequence[int] | None = None
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0

    def assemble(self, outputs: Sequence[TextOutput]) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        assembled = []
        start = 0
        for index, text in enumerate(self.texts):
            own = outputs[start : start + len(text.segments)]
            start += len(text.segments)
            assembled.append(
                TextOutput(
                    text=text.join([output.text for output in own]),
                    finish_reason=_reason([output.finish_reason for output in own]),
                    input_tokens=self.read_tokens[index]
                    if self.read_tokens
                    else sum(output.input_tokens for output in own),
                    output_tokens=sum(output.output_tokens for output in own),
                    truncated=any(output.truncated for output in own),
                    mean_log_probability=_mean_log_probability(own),
                )
            )
        return assembled


def _mean_log_probability(outputs: Sequence[TextOutput]) -> float | None:
    """Returns the mean over all tokens of a text. It is None if a row with tokens has none, or no row has tokens."""
    total, tokens = 0.0, 0
    for output in outputs:
        if not output.output_tokens:
            continue
        if output.mean_log_probability is None:
            return None
        total += output.mean_log_probability * output.output_tokens
        tokens += output.output_tokens
    return total / tokens if tokens else None


def _reason(reasons: Sequence[FinishReason]) -> FinishReason:
    """Returns the finish reason of a text: `length` or `stop` of any row counts for the text."""
    return next((reason for reason in ("length", "stop") if reason in reasons), "eos")


def is_short(prompt: Prompt) -> bool:
    """Whether planning takes about a millisecond."""
    return sum(map(len, prompt.texts)) <= SHORT_CHARACTERS


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
        UnsupportedLanguages: the artifact translates other languages.
        TextTooLong: a text exceeds the context window and the prompt forbids truncation.
    """
    manifest = generator.manifest
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    texts: list[SegmentedText] = []
    if manifest.task is Task.TRANSLATION:
        language, rows_left = _source_language(manifest, prompt), max_rows
        for text in prompt.texts:
            texts.append((yield from _bounded(splitting(text, language), rows_left, max_rows)))
            rows_left -= len(texts[-1].segments)
    else:
        texts = [whole(text) for text in prompt.texts]
    places = [index for index, text in enumerate(texts) for _ in text.segments]
    parts = [segment.text for text in texts for segment in text.segments]
    rows: list[Encoding] = []
    if is_short(prompt):
        rows = [generator.encode(part, prompt.prefix) for part in parts]
    else:
        for piece in pieces_of(parts):
            rows += generator.encode_many(piece, prompt.prefix)
            yield
    if prompt.on_overflow == "error":
        for index, row in zip(places, rows, strict=True):
            try:
                generator.check_fits(row)
            except InputTooLong as error:
                raise TextTooLong(f"text[{index}]: {error}" if len(texts) > 1 else f"text: {error}") from error
    return Plan(texts, rows, options, prompt.stop)


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


def pieces_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Groups texts that are tokenized at once. A longer text is a group of its own."""
    piece: list[str] = []
    characters = 0
    for text in texts:
        if piece and characters + len(text) > PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
        piece.append(text)
        characters += len(text)
    if piece:
        yield piece


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


def _source_language(manifest: Manifest, prompt: Prompt) -> str:
    supported = dict(zip(("source", "target"), manifest.languages, strict=False))
    for side, requested in (("source", prompt.source), ("target", prompt.target)):
        if requested is not None and requested.lower() != supported.get(side):
            raise UnsupportedLanguages(
                f"{side}: {requested!r} is not supported by {manifest.task}/{manifest.variant}, "
                f"which translates {' to '.join(manifest.languages)}"
            )
    return supported.get("source", "en")
