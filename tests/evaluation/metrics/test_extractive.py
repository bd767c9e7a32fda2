import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from slimseq.evaluation.metrics.extractive import describe_summaries, fragment_lengths

DOCUMENT = "The old bridge in Millbrook opened again on Monday. The mayor cut the ribbon, and ducks watched."


def values(summary: str, target: str = "one two three four", document: str = DOCUMENT) -> dict[str, float]:
    return {each.metric: each.value for each in describe_summaries([document], [summary], [target])}


def fragments_of_the_paper(document: Sequence[str], summary: Sequence[str]) -> Iterator[int]:
    """The procedure of figure 3 of Grusky et al. (2018)."""
    i = 0
    while i < len(summary):
        best, j = 0, 0
        while j < len(document):
            if summary[i] == document[j]:
                run = 0
                while i + run < len(summary) and j + run < len(document) and summary[i + run] == document[j + run]:
                    run += 1
                best = max(best, run)
                j += run
            else:
                j += 1
        if best:
            yield best
        i += max(best, 1)


def test_a_copied_sentence_is_one_fragment() -> None:
    assert values("The mayor cut the ribbon.") == {"copy_rate": 100.0, "density": 5.0, "length_ratio": 1.25}


def test_fragments_are_the_longest_runs_of_words() -> None:
    # "the old bridge" and "on monday" are copied, "reopened" is not.
    assert values("The old bridge reopened on Monday!") == {
        "copy_rate": pytest.approx(500 / 6),
        "density": pytest.approx((9 + 4) / 6),
        "length_ratio": 1.5,
    }


def test_words_are_compared_without_case_and_punctuation_in_any_script() -> None:
    found = values("ДЕТИ играют", document="Сегодня дети играют, в саду.")

    assert (found["copy_rate"], found["density"]) == (100.0, 2.0)


def test_texts_without_words_copy_nothing_and_have_no_length_ratio() -> None:
    for summary in ("", "...", "Nothing alike"):
        found = values(summary)
        assert (found["copy_rate"], found["density"]) == (0.0, 0.0)
    assert values("The mayor", target="")["length_ratio"] == 0.0


def test_the_length_ratio_is_that_of_all_words_together() -> None:
    *_, ratio = describe_summaries(["a"] * 2, ["a b c", "a"], ["a", "a b c d e f g"])

    assert ratio.value == 4 / 8


def test_the_fragments_are_those_of_the_procedure_in_the_paper() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        # Runs that overlap themselves are skipped by the paper's procedure; with many words they are rare.
        document, summary = (random.integers(40, size=size).astype(str).tolist() for size in (120, 40))
        copied = document[20:35] + summary + document[60:64]

        assert list(fragment_lengths(document, copied)) == list(fragments_of_the_paper(document, copied))


def test_long_texts_of_one_word_are_described_quickly() -> None:
    started = time.perf_counter()

    assert list(fragment_lengths(["a"] * 20_000, ["a"] * 20_000)) == [20_000]
    assert time.perf_counter() - started < 10
