"""Plans a prompt for one generator: its texts as encoded rows, its options checked, and the way back to texts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from app.errors import TextTooLong, UnsupportedLanguages
from app.problems import describe
from app.serving.prompt import Prompt
from app.serving.segmenter import SegmentedText, sentences, whole
from models_store.errors import InputTooLong, InvalidOptions
from models_store.generator import TextGenerator, TextOutput
from models_store.manifest import GenerationOptions, Manifest, Task
from models_store.runtimes.protocol import FinishReason
from models_store.tokenizer import Encoding

# Planning so few takes about a millisecond, which asking another thread does too where cores are busy.
SHORT_CHARACTERS = 4000


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


async def plan_of(generator: TextGenerator, prompt: Prompt) -> Plan:
    """Plans a prompt as `plan` does, on another thread where that takes its time."""
    if sum(map(len, prompt.texts)) <= SHORT_CHARACTERS:
        return plan(generator, prompt)
    return await asyncio.to_thread(plan, generator, prompt)


def plan(generator: TextGenerator, prompt: Prompt) -> Plan:
    """Plans a prompt; takes its time on long texts.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
        UnsupportedLanguages: the artifact was made for other languages.
        TextTooLong: a text does not fit and the prompt refuses truncation.
    """
    manifest = generator.manifest
    options = options_of(generator, prompt)
    if manifest.task is Task.TRANSLATION:
        language = _source_language(manifest, prompt)
        texts = [sentences(text, language) for text in prompt.texts]
    else:
        texts = [whole(text) for text in prompt.texts]
    rows = []
    for index, text in enumerate(texts):
        try:
            rows += [generator.encode(segment.text, prompt.prefix, prompt.on_overflow) for segment in text.segments]
        except InputTooLong as error:
            raise TextTooLong(f"text[{index}]: {error}" if len(texts) > 1 else f"text: {error}") from error
    return Plan(texts, rows, options, prompt.stop)


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
