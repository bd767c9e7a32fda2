"""Map-reduce summarization: a document that exceeds the context window is summarized in parts, until the summaries fit.

Parts consist of whole sentences. There are as few parts as possible, of similar length. All parts of a request are
generated together.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from slimseq.app.serving.batching.request_queue import RequestQueue
from slimseq.app.serving.documents.plan import check_prefix, options_of, pieces_of
from slimseq.app.serving.documents.planner import Planner
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.reading import without_markup
from slimseq.app.serving.terms import Due
from slimseq.evaluation.sentences import segments
from slimseq.inference.generator import TextGenerator
from slimseq.inference.tokenizer import Encoding

# A text with more characters per available token is split into many pieces at once instead of repeated halves.
CHARACTERS_TO_HALVE = 8


@dataclass(frozen=True)
class Condensed:
    """A prompt whose texts fit the context window, and the cost of its summaries.

    Args:
        prompt: with summaries in place of the texts that did not fit.
        read_tokens: number of tokens of each original text.
        queue_seconds: time of the parts in the queue.
        inference_seconds: time to generate the parts.
    """

    prompt: Prompt
    read_tokens: list[int]
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0


@dataclass(frozen=True)
class Parts:
    """The parts of a text, each within the context window, and the number of tokens of the text."""

    texts: list[str]
    rows: list[Encoding]
    tokens: int


async def condense(
    worker: RequestQueue,
    generator: TextGenerator,
    prompt: Prompt,
    due: Due,
    planner: Planner,
) -> Condensed:
    """Summarizes texts in parts until each fits the context window.

    Args:
        worker: generates.
        generator: of the model.
        prompt: texts and options.
        due: when the request expires.
        planner: runs the tokenization of long texts.

    Returns:
        The same prompt if everything fits. A text whose summaries are no shorter than itself is truncated by the
        model.

    Raises:
        InvalidOptions, InvalidRequest, MarkupTooComplex, UnclosedMarkup: as `planning` does.
        SlimseqError: what `Planner.run`, `RequestQueue.submit` and `RequestQueue.wait` raise.
    """
    options = options_of(generator, prompt)
    check_prefix(generator, prompt.prefix)
    prompt = await planner.run(without_markup(prompt))
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
        generated = await worker.wait(worker.submit(rows, options, due))
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
    """Splits a text between sentences into parts that fit the context window, in small steps.

    A sentence that is too long is split between words.
    """
    around = generator.encode("", prefix).full_length
    available = generator.max_input_tokens - around
    pieces: list[tuple[str, int]] = []
    sentences = (stripped for sentence in segments(text, "en") if (stripped := sentence.strip()))
    for group in pieces_of(sentences):
        pieces += yield from _sized(generator, group, available)
    tokens = sum(size for _, size in pieces)
    aim = tokens / math.ceil(tokens / available)
    parts: list[list[str]] = [[]]
    held = 0
    for piece, size in pieces:
        if parts[-1] and (held >= aim or held + size > available):
            parts.append([])
            held = 0
        parts[-1].append(piece)
        held += size
    texts = [" ".join(part) for part in parts]
    return Parts(texts, (yield from _encoding(generator, texts, prefix)), around + tokens)


def _sized(
    generator: TextGenerator, texts: Sequence[str], available: int
) -> Generator[None, None, list[tuple[str, int]]]:
    """Returns texts that fit, with their number of tokens. Longer texts are split between words."""
    specials = generator.encode("", "").full_length
    encodings = generator.encode_many(texts, "")
    yield
    found: list[tuple[str, int]] = []
    for text, encoding in zip(texts, encodings, strict=True):
        size = encoding.full_length - specials
        groups = _groups_of_words(text, available) if size > available else []
        if len(groups) < 2:
            # A single word that exceeds the window is truncated.
            found.append((text, min(size, available)))
            continue
        for group in pieces_of(groups):
            found += yield from _sized(generator, group, available)
    return found


def _groups_of_words(text: str, available: int) -> list[str]:
    """Splits a text between words: in halves, or if it is very long into pieces that probably fit."""
    words = text.split()
    count = 2 if len(text) < CHARACTERS_TO_HALVE * available else math.ceil(len(text) / available)
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
