import pytest

from slimseq.app.serving.documents.long_input.topics import MAX_TOPICS, dividing, words_of
from slimseq.app.serving.documents.planner import finished
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task

ARTICLES = [sentences(example.source) for example in load_examples(Task.SUMMARIZATION, BUNDLED).examples]


def topics_of(found: list[str], may_begin: list[bool] | None = None) -> list[int]:
    words = [words_of(sentence) for sentence in found]
    return finished(dividing(words, may_begin or [True] * len(found)))


@pytest.mark.parametrize("start", range(0, 40, 5))
def test_articles_with_paragraphs_begin_topics(start: int) -> None:
    articles = ARTICLES[start : start + 5]
    true = [sum(map(len, articles[:number])) for number in range(5)]
    paragraphs = [index % 3 == 0 for article in articles for index in range(len(article))]

    found = topics_of([sentence for article in articles for sentence in article], paragraphs)

    assert len(found) in (4, 5, 6)
    assert len(set(found) & set(true)) >= 4


def test_most_articles_in_one_paragraph_begin_topics_at_their_first_sentence_or_the_one_beside_it() -> None:
    articles = ARTICLES[30:38]
    true = [sum(map(len, articles[:number])) for number in range(8)]

    found = topics_of([sentence for article in articles for sentence in article])

    assert sum(any(abs(place - other) <= 1 for other in found) for place in true) > 4
    assert len(found) <= 9


def test_most_articles_are_one_topic() -> None:
    assert sum(len(topics_of(article)) == 1 for article in ARTICLES) > 0.9 * len(ARTICLES)


def test_a_topic_begins_only_where_it_may() -> None:
    first, second = ARTICLES[:2]
    late = len(first) + 2

    found = topics_of([*first, *second], [index in (0, late) for index in range(len(first) + len(second))])

    assert found == [0, late]


def test_more_articles_than_topics_are_taken_together() -> None:
    found = topics_of([sentence for article in ARTICLES for sentence in article])

    assert MAX_TOPICS // 2 < len(found) <= MAX_TOPICS


def test_sentences_without_words_are_one_topic() -> None:
    assert topics_of(["1 + 1 = 2.", "...", "!"]) == [0]
