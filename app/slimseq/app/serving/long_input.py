"""Documents beyond the model's window: summarised part by part, and the parts' summaries again until one fits.

The parts are whole sentences, as few parts as can be and of like length; all parts of a request are generated together.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from slimseq.app.serving.plan import check_prefix, options_of, pieces_of
from slimseq.app.serving.planner import Planner
from slimseq.app.serving.prompt import Prompt
from slimseq.app.serving.request_queue import RequestQueue
from slimseq.evaluation.sentences import segments
from slimseq.inference.generator import TextGenerator
from slimseq.inference.tokenizer import Encoding

# A text of so many characters for each token of room is not cut in halves, and these again, but at once.
CHARACTERS_TO_HALVE = 8


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


@dataclass(frozen=True)
class Parts:
    """A text in parts that the model reads whole, and how many tokens it has."""

    texts: list[str]
    rows: list[Encoding]
    tokens: int


async def condense(
    worker: RequestQueue, generator: TextGenerator, prompt: Prompt, deadline: float, planner: Planner
) -> Condensed:
    """Summarises texts in parts until each fits the model's window.

    Args:
        worker: generates.
        generator: whose window it is.
        prompt: what is asked for.
        deadline: `time.monotonic()` after which nobody waits any more.
        planner: runs what takes long.

    Returns:
        The prompt as it is where everything fits. A text whose parts' summaries are no shorter than it is left for the
        model to truncate.

    Raises:
        InvalidOptions, InvalidRequest: as `planning` does.
        SlimseqError: what `Planner.run`, `RequestQueue.submit` and `RequestQueue.wait` raise.
    """
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    texts = list(prompt.texts)
    encodings = await planner.run(_encoding(generator, texts, prompt.prefix))
    read_tokens = [encoding.full_length for encoding in encodings]
    condensed = Condensed(prompt, read_tokens)
    lengths = dict(enumerate(read_tokens))
    long = [index for index, encoding in enumerate(encodings) if encoding.is_truncated]
    while long:
        parts = {index: await planner.run(cutting(generator, texts[index], prompt.prefix)) for index in long}
        if condensed.prompt is prompt:
            for index in long:
                if not encodings[index].is_counted:
                    read_tokens[index] = parts[index].tokens
        rows = [row for index in long for row in parts[index].rows]
        generated = await worker.wait(worker.submit(rows, options, deadline))
        outputs = iter(generated.outputs)
        for index in long:
            lengths[index] = parts[index].tokens
            texts[index] = " ".join(text for _ in parts[index].rows if (text := next(outputs).text))
        condensed = replace(
            condensed,
            prompt=replace(prompt, texts=list(texts)),
            queue_seconds=condensed.queue_seconds + generated.queue_seconds,
            inference_seconds=condensed.inference_seconds + generated.inference_seconds,
        )
        found = await planner.run(_encoding(generator, [texts[index] for index in long], prompt.prefix))
        long = [
            index
            for index, encoding in zip(long, found, strict=True)
            if encoding.is_truncated and encoding.full_length < lengths[index]
        ]
    return condensed


def cutting(generator: TextGenerator, text: str, prefix: str | None) -> Generator[None, None, Parts]:
    """Cuts a text between sentences into parts that the model reads whole, a little at a time.

    Too long a sentence is cut between words.
    """
    around = generator.encode("", prefix).full_length
    room = generator.max_input_tokens - around
    pieces: list[tuple[str, int]] = []
    sentences = (stripped for sentence in segments(text, "en") if (stripped := sentence.strip()))
    for group in pieces_of(sentences):
        pieces += yield from _sized(generator, group, room)
    tokens = sum(size for _, size in pieces)
    aim = tokens / math.ceil(tokens / room)
    parts: list[list[str]] = [[]]
    held = 0
    for piece, size in pieces:
        if parts[-1] and (held >= aim or held + size > room):
            parts.append([])
            held = 0
        parts[-1].append(piece)
        held += size
    texts = [" ".join(part) for part in parts]
    return Parts(texts, (yield from _encoding(generator, texts, prefix)), around + tokens)


def _sized(generator: TextGenerator, texts: Sequence[str], room: int) -> Generator[None, None, list[tuple[str, int]]]:
    """Returns texts that fit, with their tokens: those that do not are cut between words."""
    specials = generator.encode("", "").full_length
    encodings = generator.encode_many(texts, "")
    yield
    found: list[tuple[str, int]] = []
    for text, encoding in zip(texts, encodings, strict=True):
        size = encoding.full_length - specials
        groups = _groups_of_words(text, room) if size > room else []
        if len(groups) < 2:
            # A word that is longer than the window stays one, and is truncated.
            found.append((text, min(size, room)))
            continue
        for group in pieces_of(groups):
            found += yield from _sized(generator, group, room)
    return found


def _groups_of_words(text: str, room: int) -> list[str]:
    """Cuts a text between words: in halves, or where it is very long into pieces that are likely to fit."""
    words = text.split()
    count = 2 if len(text) < CHARACTERS_TO_HALVE * room else math.ceil(len(text) / room)
    size = math.ceil(len(words) / min(count, max(len(words), 1)))
    return [" ".join(words[start : start + size]) for start in range(0, len(words), size)]


def _encoding(
    generator: TextGenerator, texts: Sequence[str], prefix: str | None
) -> Generator[None, None, list[Encoding]]:
    encodings: list[Encoding] = []
    for piece in pieces_of(texts):
        encodings += generator.encode_many(piece, prefix)
        yield
    return encodings
