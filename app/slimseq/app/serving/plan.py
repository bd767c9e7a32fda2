"""Plans a prompt for one generator: its texts as encoded rows, its options checked, and the way back to texts."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest, TextTooLong, UnsupportedLanguages
from slimseq.app.http.problems import describe
from slimseq.app.serving.prompt import Prompt
from slimseq.app.serving.segmenter import SegmentedText, splitting, whole
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import FinishReason
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InputTooLong, InvalidOptions
from slimseq.models_store.manifest import GenerationOptions, Manifest, Task

# Planning so few takes about a millisecond, which asking another thread does too where cores are busy.
SHORT_CHARACTERS = 4000
# Characters that are tokenized at once: some milliseconds of work, at the worst 30.
PIECE_CHARACTERS = 8000


@dataclass(frozen=True)
class Plan:
    """Rows for a worker, in reading order over all texts, and how their outputs make up the texts.

    Where the rows hold summaries of a text's parts, `read_tokens` says how many tokens of each text were read, and the
    seconds are what these summaries waited and took.
    """

    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    stop: tuple[str, ...] = ()
    read_tokens: Sequence[int] | None = None
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0

    def assemble(self, outputs: Sequence[TextOutput]) -> list[TextOutput]:
        """Returns one output a text from one output a row: tokens add up, a cut anywhere marks the whole."""
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
                )
            )
        return assembled


def _reason(reasons: Sequence[FinishReason]) -> FinishReason:
    """Returns why a text ended: a cut anywhere counts for the whole."""
    return next((reason for reason in ("length", "stop") if reason in reasons), "eos")


def is_short(prompt: Prompt) -> bool:
    """Whether a prompt is planned in about a millisecond."""
    return sum(map(len, prompt.texts)) <= SHORT_CHARACTERS


def planning(generator: TextGenerator, prompt: Prompt, most_rows: int) -> Generator[None, None, Plan]:
    """Plans a prompt, a little at a time.

    Args:
        generator: what will generate.
        prompt: what is asked for.
        most_rows: rows that its worker takes of one request.

    Returns:
        The plan.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
        InvalidRequest: the texts have too many sentences, or the prefix leaves no room for a text.
        UnsupportedLanguages: the artifact was made for other languages.
        TextTooLong: a text does not fit and the prompt refuses truncation.
    """
    manifest = generator.manifest
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    texts: list[SegmentedText] = []
    if manifest.task is Task.TRANSLATION:
        language, rows_left = _source_language(manifest, prompt), most_rows
        for text in prompt.texts:
            texts.append((yield from _bounded(splitting(text, language), rows_left, most_rows)))
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
    """Splits a text unless it has more parts than are left."""
    while True:
        try:
            count = next(work)
        except StopIteration as end:
            segmented: SegmentedText = end.value
            return segmented
        if count > left:
            raise InvalidRequest(f"text: has more than {most} parts to generate for, the most of one request")
        yield


def pieces_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Gathers texts that are tokenized at once; a longer one is alone."""
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
    """Checks that a request's own prefix leaves half of the model's window to the text.

    Raises:
        InvalidRequest: it is longer.
    """
    limit = generator.max_input_tokens
    if prefix and (tokens := generator.encode("", prefix).full_length) > limit // 2:
        raise InvalidRequest(f"prefix: has {tokens} tokens; at most {limit // 2}, half of what the model reads")


def options_of(generator: TextGenerator, prompt: Prompt) -> GenerationOptions:
    """Returns what a prompt's texts are generated with.

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
    made_for = dict(zip(("source", "target"), manifest.languages, strict=False))
    for side, asked in (("source", prompt.source), ("target", prompt.target)):
        if asked is not None and asked.lower() != made_for.get(side):
            raise UnsupportedLanguages(
                f"{side}: {asked!r} is not what {manifest.task}/{manifest.variant} was made for, "
                f"which translates {' to '.join(manifest.languages)}"
            )
    return made_for.get("source", "en")
