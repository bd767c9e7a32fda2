"""A document above the context window is divided at paragraphs, else between sentences, else between words."""

import pytest

from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.long_input import divide
from slimseq.inference.text.sentences import whole
from slimseq.models_store.manifest import Task
from tests.cpu_time import cpu_seconds

SENTENCE = "The mayor said on day {} that the town would build a new bridge over the river next to the market."


def parts(generator: TextGenerator, text: str) -> list[str]:
    return [segment.text for segment in divide(generator, text, None).segments]


@pytest.mark.parametrize("between", ["\n\n", "\r\n \r\n", "\n\n\n\n"])
def test_each_of_several_articles_is_a_part(summarizer: TextGenerator, between: str) -> None:
    examples = load_examples(Task.SUMMARIZATION, BUNDLED).examples[:5]
    articles = [" ".join(example.source.split()) for example in examples]

    found = divide(summarizer, between.join(articles), None).segments

    assert [segment.text for segment in found] == articles
    assert [segment.before for segment in found] == ["", *["\n\n"] * 4]


def test_short_paragraphs_are_part_of_the_next_one_and_the_last_of_the_one_before(summarizer: TextGenerator) -> None:
    first, second = (" ".join(SENTENCE.format(10 * part + day) for day in range(12)) for part in (1, 2))

    found = parts(summarizer, f"A heading\n\n{first}\n\nAnother\n\n{second}\n\nThe end.\n")

    assert found == [f"A heading\n\n{first}", f"Another\n\n{second}\n\nThe end."]


def test_a_paragraph_beyond_the_window_is_divided_between_sentences(summarizer: TextGenerator) -> None:
    sentences = [SENTENCE.format(number) for number in range(90)]

    segments = divide(summarizer, " ".join(sentences), None).segments

    assert not any(summarizer.encode(segment.text).is_truncated for segment in segments)
    assert " ".join(segment.text for segment in segments) == " ".join(sentences)
    assert all(segment.text.endswith("market.") for segment in segments)
    assert [segment.before for segment in segments] == ["", *[" "] * (len(segments) - 1)]


def test_a_sentence_beyond_the_window_is_divided_between_words(summarizer: TextGenerator) -> None:
    text = " ".join(f"word{number}" for number in range(900))

    found = parts(summarizer, text)

    assert not any(summarizer.encode(part).is_truncated for part in found)
    assert " ".join(found) == text


def test_a_text_that_fits_is_one_part_as_it_is(summarizer: TextGenerator) -> None:
    text = "The sun is shining.\n\n  It is warm."

    assert divide(summarizer, text, None) == whole(text)


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "word " * 40_000, "No. " * 50_000, "The end.\n\n" + "\n\n" * 50_000 + "The end.", "a\n\n" * 60_000],
    ids=["one word", "one sentence", "short sentences", "blank lines", "short paragraphs"],
)
def test_any_long_text_is_divided_in_linear_time(summarizer: TextGenerator, text: str) -> None:
    assert cpu_seconds(lambda: divide(summarizer, text, None), below=2) < 2
    assert 1 <= len(parts(summarizer, text)) <= 1000
