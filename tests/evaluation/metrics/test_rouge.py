import random
import tracemalloc

import pytest
from rouge_score.rouge_scorer import RougeScorer

from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics.rouge import ROUGE_METRICS, Rouge
from slimseq.models_store.manifest import Task

TABLE = RougeScorer(list(ROUGE_METRICS), use_stemmer=True)


def of_table(reference: str, output: str) -> dict[str, float]:
    return {metric: found.fmeasure for metric, found in TABLE.score(reference, output).items()}


def random_text(draw: random.Random, words: int) -> str:
    """A text of few different words, so that there are many longest common subsequences to choose from."""
    vocabulary = [*(f"w{number}" for number in range(draw.choice([1, 2, 3, 5, 20]))), "running", "runs", "…"]
    lines = draw.choice([0.0, 0.1, 0.3])
    return "".join(
        draw.choice(vocabulary) + ("\n" if draw.random() < lines else " ") for _ in range(draw.randint(0, words))
    )


def test_random_texts_score_exactly_as_in_rouge_score() -> None:
    draw = random.Random(0)
    for _ in range(300):
        reference, output = random_text(draw, 30), random_text(draw, 30)

        assert Rouge().score(reference, output) == of_table(reference, output), (reference, output)


def test_real_documents_score_exactly_as_in_rouge_score() -> None:
    for example in load_examples(Task.SUMMARIZATION, "sample", samples=4).examples:
        in_lines = example.source.replace(". ", ".\n")

        assert Rouge().score(example.target, in_lines) == of_table(example.target, in_lines)


@pytest.mark.slow
def test_texts_of_12000_words_without_a_full_stop_are_scored_in_some_megabytes() -> None:
    draw = random.Random(0)
    first, second = (" ".join(f"w{draw.randrange(3000)}" for _ in range(12_000)) for _ in range(2))

    tracemalloc.start()
    scores = Rouge().score(first, second)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0 < scores["rouge2"] < scores["rougeL"] == scores["rougeLsum"] < scores["rouge1"] < 1
    assert peak_bytes < 40_000_000
