"""Documents beyond the model's window: summarised part by part, and the parts' summaries again until one fits.

The parts are whole sentences, as few parts as can be and of like length; all parts of a request are generated together.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.serving.plan import options_of
from app.serving.prompt import Prompt
from app.serving.worker import Worker
from evaluation.sentences import sentences
from models_store.generator import TextGenerator


@dataclass(frozen=True)
class Condensed:
    """A prompt whose texts fit, and what it took.

    Args:
        prompt: with summaries of parts in place of the texts that did not fit.
        read_tokens: how many tokens of each text were read, all parts together.
        queue_seconds: what the parts waited.
        inference_seconds: what they took.
    """

    prompt: Prompt
    read_tokens: list[int]
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0


async def condense(worker: Worker, generator: TextGenerator, prompt: Prompt, deadline: float) -> Condensed:
    """Summarises texts in parts until each fits the model's window.

    Args:
        worker: generates.
        generator: whose window it is.
        prompt: what is asked for.
        deadline: `time.monotonic()` after which nobody waits any more.

    Returns:
        The prompt as it is where everything fits. A text whose parts' summaries are no shorter than it is left for the
        model to truncate.

    Raises:
        InvalidOptions: as `plan` does.
        SlimseqError: what `Worker.submit` and `Worker.wait` raise.
    """
    options = options_of(generator, prompt)
    texts = list(prompt.texts)
    lengths = await asyncio.to_thread(_lengths, generator, texts, prompt.prefix)
    condensed = Condensed(prompt, list(lengths))
    long = [index for index, length in enumerate(lengths) if length > generator.max_input_tokens]
    while long:
        parts = [await asyncio.to_thread(parts_of, generator, texts[index], prompt.prefix) for index in long]
        rows = [generator.encode(part, prompt.prefix) for whole in parts for part in whole]
        generated = await worker.wait(worker.submit(rows, options, deadline))
        outputs = iter(generated.outputs)
        for index, whole in zip(long, parts, strict=True):
            texts[index] = " ".join(text for _ in whole if (text := next(outputs).text))
        condensed = replace(
            condensed,
            queue_seconds=condensed.queue_seconds + generated.queue_seconds,
            inference_seconds=condensed.inference_seconds + generated.inference_seconds,
        )
        before, lengths = lengths, await asyncio.to_thread(_lengths, generator, texts, prompt.prefix)
        long = [index for index in long if generator.max_input_tokens < lengths[index] < before[index]]
    return replace(condensed, prompt=replace(prompt, texts=texts))


def parts_of(generator: TextGenerator, text: str, prefix: str | None) -> list[str]:
    """Cuts a text between sentences into parts that the model reads whole; too long a sentence is cut between words."""
    limit = generator.max_input_tokens
    around = generator.encode("", prefix).full_length
    pieces = [piece for sentence in sentences(text) for piece in _fitting(generator, sentence, prefix)]
    sizes = [generator.encode(piece, prefix).full_length - around for piece in pieces]
    room = limit - around
    aim = sum(sizes) / math.ceil(sum(sizes) / room)
    parts: list[list[str]] = [[]]
    held = 0
    for piece, size in zip(pieces, sizes, strict=True):
        if parts[-1] and (held >= aim or held + size > room):
            parts.append([])
            held = 0
        parts[-1].append(piece)
        held += size
    return [" ".join(part) for part in parts]


def _fitting(generator: TextGenerator, text: str, prefix: str | None) -> list[str]:
    if not generator.encode(text, prefix).is_truncated:
        return [text]
    words = text.split()
    if len(words) < 2:
        return [text]
    halves = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
    return [piece for half in halves for piece in _fitting(generator, half, prefix)]


def _lengths(generator: TextGenerator, texts: Sequence[str], prefix: str | None) -> list[int]:
    return [generator.encode(text, prefix).full_length for text in texts]
