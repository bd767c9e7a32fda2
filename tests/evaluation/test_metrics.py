"""Scores equal those of `sacrebleu` and `rouge-score`."""

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from slimseq.evaluation.metrics import BASELINE_NAME, METRICS, PRIMARY_METRIC, baseline, score
from slimseq.models_store.manifest import Task

GERMAN_REFERENCES = [
    "Die Kinder spielen heute Nachmittag im Garten.",
    "Der Zug nach Hamburg fährt um halb sieben ab.",
    "Meine Schwester arbeitet seit drei Jahren in einem Krankenhaus.",
    "Wo hast du gestern Abend das Auto geparkt?",
    "Ja.",
]
GERMAN_OUTPUTS = [
    "Die Kinder spielen heute im Garten.",
    "Der Zug nach Hamburg fährt um halb sieben.",
    "Meine Schwester arbeitet drei Jahre in einem Spital.",
    "",
    "Ja.",
]
SUMMARIES = ["The old bridge opened again on Monday. Dr. Smith cut the ribbon.", "Prices of bread are rising."]
OUTPUTS = ["Dr. Smith cut the ribbon on Monday. The bridge opened.", "Bread prices rose in May."]


def test_values_of_summed_statistics_are_exactly_those_of_sacrebleu() -> None:
    found = score(Task.TRANSLATION, GERMAN_OUTPUTS, GERMAN_REFERENCES)

    assert {name: each.value for name, each in found.items()} == {
        "bleu": sacrebleu.corpus_bleu(GERMAN_OUTPUTS, [GERMAN_REFERENCES]).score,
        "chrf": sacrebleu.corpus_chrf(GERMAN_OUTPUTS, [GERMAN_REFERENCES]).score,
        "chrf++": sacrebleu.corpus_chrf(GERMAN_OUTPUTS, [GERMAN_REFERENCES], word_order=2).score,
    }


def test_bleu_of_many_corpora_is_exactly_that_of_sacrebleu() -> None:
    draw = np.random.default_rng(0)
    totals = np.sort(draw.integers(0, 30, (2000, 4)), axis=1)[:, ::-1]
    matches = draw.integers(0, totals + 1) * draw.integers(0, 2, totals.shape)
    lengths = draw.integers(0, 30, (2000, 1))
    counts = np.hstack([totals[:, :1], lengths, matches, totals])
    bleu = score(Task.TRANSLATION, GERMAN_OUTPUTS, GERMAN_REFERENCES)["bleu"]

    values = bleu.value_of(counts.astype(np.float64))

    expected = [
        sacrebleu.BLEU.compute_bleu(row[2:6], row[6:], row[0], row[1], smooth_method="exp").score
        for row in counts.tolist()
    ]
    assert values.tolist() == expected
    assert len(set(expected)) > 500


def test_translation_metrics_carry_the_signature_of_sacrebleu() -> None:
    bleu, chrf, chrf_plus_plus = sacrebleu.BLEU(), sacrebleu.CHRF(), sacrebleu.CHRF(word_order=2)
    for metric in (bleu, chrf, chrf_plus_plus):
        metric.corpus_score(GERMAN_OUTPUTS, [GERMAN_REFERENCES])

    scored = score(Task.TRANSLATION, GERMAN_OUTPUTS, GERMAN_REFERENCES)

    assert scored["bleu"].signature == str(bleu.get_signature())
    assert scored["chrf"].signature == str(chrf.get_signature())
    assert scored["chrf++"].signature == str(chrf_plus_plus.get_signature())


@pytest.mark.parametrize("metric", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_the_mean_f_measure_of_rouge_score(metric: str) -> None:
    scorer = RougeScorer([metric], use_stemmer=True)
    each = [scorer.score(summary, output)[metric].fmeasure for summary, output in zip(SUMMARIES, OUTPUTS, strict=True)]

    statistics = score(Task.SUMMARIZATION, OUTPUTS, SUMMARIES)[metric]

    assert statistics.value == pytest.approx(100 * sum(each) / 2, rel=1e-12)


def test_rouge_lsum_compares_sentence_by_sentence() -> None:
    scorer = RougeScorer(["rougeLsum"], use_stemmer=True)
    summary = "The old bridge opened again on Monday.\nDr. Smith cut the ribbon."
    output = "Dr. Smith cut the ribbon on Monday.\nThe bridge opened."

    scored = score(Task.SUMMARIZATION, OUTPUTS[:1], SUMMARIES[:1])

    assert scored["rougeLsum"].value == pytest.approx(100 * scorer.score(summary, output)["rougeLsum"].fmeasure)
    assert scored["rougeLsum"].value > scored["rougeL"].value


def test_lines_of_a_reference_summary_count_as_sentences() -> None:
    in_lines = score(Task.SUMMARIZATION, ["Ducks watch. A bridge opens."], ["A bridge opens\nDucks watch"])

    assert in_lines["rougeLsum"].value == 100


def test_rouge_says_how_it_was_computed() -> None:
    signature = score(Task.SUMMARIZATION, OUTPUTS, SUMMARIES)["rougeL"].signature

    assert signature == "nrefs:1|stemmer:yes|split:sentencex|tool:rouge-score|version:0.1.2"


@pytest.mark.parametrize("task", list(Task))
def test_every_metric_of_a_task_is_scored_and_the_primary_is_one_of_them(task: Task) -> None:
    scored = score(task, ["a text"], ["a text"])

    assert tuple(scored) == METRICS[task]
    assert PRIMARY_METRIC[task] in METRICS[task]


DOCUMENT = "The bridge opened\non Monday. It took four years. The mayor cut a ribbon. Ducks watched."
LEAD = "The bridge opened on Monday. It took four years. The mayor cut a ribbon."


@pytest.mark.parametrize(
    ("task", "source", "output", "name"),
    [
        (Task.SUMMARIZATION, DOCUMENT, LEAD, "lead-3"),
        (Task.SUMMARIZATION, "Ducks watched.", "Ducks watched.", "lead-3"),
        (Task.TRANSLATION, DOCUMENT, DOCUMENT, "source-copy"),
    ],
)
def test_baselines_are_three_sentences_or_the_source(task: Task, source: str, output: str, name: str) -> None:
    assert (baseline(task, source), BASELINE_NAME[task]) == (output, name)


@pytest.mark.parametrize(("hypotheses", "references"), [([], []), (["one"], ["one", "two"])])
def test_what_cannot_be_scored_is_refused(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{len(hypotheses)} hypotheses against {len(references)} references"):
        score(Task.TRANSLATION, hypotheses, references)
