from collections.abc import Iterator

import pytest

from slimseq.app.serving.documents.long_input.parting import parting
from slimseq.app.serving.documents.long_input.topics import MAX_TOPICS
from slimseq.app.serving.documents.planner import finished
from slimseq.app.serving.documents.segmenter import SegmentedText, whole
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.cpu_time import longest_step

PEOPLE = ("mayor", "teacher", "farmer", "nurse", "baker", "painter", "driver", "captain", "singer", "lawyer")
SENTENCE = "The {} said on day {} that the town would build a new bridge over the river next to the market."
# CPU time. Tokenization, the longest step, releases the interpreter lock.
STEP_SECONDS = 0.1


def document(count: int) -> str:
    return " ".join(SENTENCE.format(PEOPLE[number % len(PEOPLE)], number) for number in range(count))


@pytest.fixture(scope="module")
def articles() -> list[str]:
    """Five articles on different topics, without blank lines."""
    return [" ".join(example.source.split()) for example in load_examples(Task.SUMMARIZATION, BUNDLED).examples[:5]]


@pytest.fixture(scope="module")
def summarizer(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.SUMMARIZATION, "quantized") as generator:
        yield generator


def divided(generator: TextGenerator, text: str) -> SegmentedText:
    return finished(parting(generator, text, None))


def texts_of(found: SegmentedText) -> list[str]:
    return [segment.text for segment in found.segments]


@pytest.mark.parametrize("between", ["\n\n", "\r\n \r\n", "\n\n\n\n"])
def test_each_of_several_articles_is_a_part(summarizer: TextGenerator, articles: list[str], between: str) -> None:
    found = divided(summarizer, between.join(articles))

    assert texts_of(found) == articles
    assert [segment.before for segment in found.segments] == ["", *["\n\n"] * 4]


def test_one_article_is_one_part_however_many_paragraphs_it_has(summarizer: TextGenerator) -> None:
    found = divided(summarizer, document(60).replace(". ", ".\n\n"))

    assert len(found.segments) == 1


def test_a_topic_beyond_the_window_has_its_most_salient_sentences_in_reading_order(summarizer: TextGenerator) -> None:
    aside = f"Meanwhile heavy rain fell on {'empty fields, ' * 8}behind a railway station during Sunday afternoon."
    text = document(30) + f" {aside} " + document(60)

    [part] = texts_of(divided(summarizer, text))

    encoding = summarizer.encode(part)
    chosen = [sentences(text).index(sentence) for sentence in sentences(part)]
    assert not encoding.is_truncated and len(encoding.ids) > 0.8 * summarizer.max_input_tokens
    assert chosen == sorted(chosen) and chosen[0] == 0
    assert aside not in part


def test_a_text_that_fits_is_one_part_as_it_is(summarizer: TextGenerator) -> None:
    text = "The sun is shining.\n\n  It is warm."

    assert divided(summarizer, text) == whole(text)


def test_a_sentence_beyond_the_window_is_cut_between_words(summarizer: TextGenerator) -> None:
    text = " ".join(f"word{number}" for number in range(900))

    found = texts_of(divided(summarizer, text))

    assert not any(summarizer.encode(part).is_truncated for part in found)
    assert all(part in text for part in found)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "\n\n".join(f"{PEOPLE[number % 10]} number {number} wins." for number in range(10_000)),
        document(1_500),
        "word " * 40_000,
        "No. " * 50_000,
        "The end is near. " * 5_000 + "\n\n" * 50_000 + "The end.",
        "a\n\n" * 60_000,
    ],
    ids=["one word", "lines", "sentences", "one sentence", "short sentences", "blank lines", "short paragraphs"],
)
def test_any_long_text_has_few_parts_and_no_step_stalls(summarizer: TextGenerator, text: str) -> None:
    longest, found = longest_step(lambda: parting(summarizer, text, None), below=STEP_SECONDS)

    assert 1 <= len(found.segments) <= MAX_TOPICS
    assert longest < STEP_SECONDS
