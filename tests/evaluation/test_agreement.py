"""Agreement of two variants' outputs: the share of equal outputs, and their similarity."""

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from slimseq.evaluation.agreement import OutputAgreement, agreement, agreements, mean_agreement
from slimseq.models_store.manifest import Task

GERMAN = "Die Kinder spielen heute Nachmittag im Garten."
SHORTER = "Die Kinder spielen im Garten."
SUMMARY = "The old bridge opened again on Monday. Dr. Smith cut the ribbon."
OTHER_SUMMARY = "Dr. Smith cut the ribbon on Monday. The bridge opened."


def test_equal_outputs_agree_fully() -> None:
    for task, text in ((Task.TRANSLATION, GERMAN), (Task.SUMMARIZATION, SUMMARY), (Task.TRANSLATION, "")):
        assert agreement(task, text, text) == OutputAgreement(is_exact=True, similarity=1.0)


def test_similarity_of_translations_is_the_chrf_of_sacrebleu() -> None:
    found = agreement(Task.TRANSLATION, SHORTER, GERMAN)

    assert found.similarity == pytest.approx(sacrebleu.sentence_chrf(SHORTER, [GERMAN]).score / 100)
    assert not found.is_exact
    assert 0 < found.similarity < 1


def test_similarity_of_summaries_is_the_f_measure_of_rouge_l() -> None:
    expected = RougeScorer(["rougeL"], use_stemmer=True).score(SUMMARY, OTHER_SUMMARY)["rougeL"].fmeasure

    found = agreement(Task.SUMMARIZATION, OTHER_SUMMARY, SUMMARY)

    assert found.similarity == pytest.approx(expected)
    assert not found.is_exact
    assert 0 < found.similarity < 1


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("output", ["", " ", "...", "xyzzy"])
def test_outputs_with_nothing_in_common_do_not_agree(task: Task, output: str) -> None:
    assert agreement(task, output, "Guten Abend") == OutputAgreement(is_exact=False, similarity=0.0)
    assert agreement(task, "Guten Abend", output) == OutputAgreement(is_exact=False, similarity=0.0)


def test_a_difference_in_spaces_is_not_exact() -> None:
    assert agreement(Task.TRANSLATION, "Guten  Abend", "Guten Abend") == OutputAgreement(is_exact=False, similarity=1.0)


def test_the_mean_is_of_all_outputs() -> None:
    outputs = [GERMAN, GERMAN, SHORTER, "nein"]
    found = agreements(Task.TRANSLATION, outputs, [GERMAN] * 4)

    mean = mean_agreement(Task.TRANSLATION, outputs, [GERMAN] * 4)

    assert mean.exact == 0.5
    assert mean.similarity == pytest.approx(sum(each.similarity for each in found) / 4)
    assert 0 < mean.interval[0] < mean.similarity < mean.interval[1] <= 1


def test_no_outputs_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no outputs"):
        mean_agreement(Task.SUMMARIZATION, [], [])
