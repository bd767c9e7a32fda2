import asyncio
from collections.abc import Iterator

import pytest

from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.documents.long_input import Condensed, condense, cutting
from slimseq.app.serving.documents.planner import Planner, finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.terms import Due
from slimseq.evaluation.sentences import sentences
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

PEOPLE = ("mayor", "teacher", "farmer", "nurse", "baker", "painter", "driver", "captain", "singer", "lawyer")
SENTENCE = "The {} said on day {} that the town would build a new bridge over the river next to the market."


def document(count: int) -> str:
    return " ".join(SENTENCE.format(PEOPLE[number % len(PEOPLE)], number) for number in range(count))


@pytest.fixture(scope="module")
def summarizer(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.SUMMARIZATION, "quantized") as generator:
        yield generator


def condensed(generator: TextGenerator, prompt: Prompt) -> Condensed:
    async def run() -> Condensed:
        scheduler, planner = ContinuousBatching(generator, "summarization/quantized"), Planner()
        try:
            return await condense(scheduler, generator, prompt, Due.within(60), planner)
        finally:
            scheduler.close()
            planner.close()

    return asyncio.run(run())


def parts_of(generator: TextGenerator, text: str, prefix: str | None) -> list[str]:
    return finished(cutting(generator, text, prefix)).texts


def test_parts_are_whole_sentences_that_fit_and_are_of_like_length(summarizer: TextGenerator) -> None:
    text = document(60)

    parts = parts_of(summarizer, text, None)

    assert " ".join(parts) == text
    assert [sentence for part in parts for sentence in sentences(part)] == sentences(text)
    encodings = [summarizer.encode(part) for part in parts]
    assert len(parts) > 2 and not any(encoding.is_truncated for encoding in encodings)
    assert min(len(encoding.ids) for encoding in encodings) > summarizer.max_input_tokens / 2


def test_a_sentence_beyond_the_window_is_cut_between_words(summarizer: TextGenerator) -> None:
    text = " ".join(f"word{number}" for number in range(900))

    parts = parts_of(summarizer, text, None)

    assert " ".join(parts) == text
    assert not any(summarizer.encode(part).is_truncated for part in parts)


def test_a_long_document_is_read_to_its_end_and_what_fits_stays_as_it_is(summarizer: TextGenerator) -> None:
    short, long = "The sun is shining.", document(150)

    found = condensed(summarizer, Prompt([short, long], {"num_beams": 1, "max_new_tokens": 40}))

    assert found.prompt.texts[0] == short
    assert not summarizer.encode(found.prompt.texts[1]).is_truncated
    assert found.read_tokens == [summarizer.encode(text).full_length for text in (short, long)]
    assert found.inference_seconds > 0


def test_a_prompt_that_fits_is_not_touched(summarizer: TextGenerator) -> None:
    prompt = Prompt(["The sun is shining."])

    assert condensed(summarizer, prompt) == Condensed(prompt, [summarizer.encode(prompt.texts[0]).full_length])
