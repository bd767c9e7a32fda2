"""ROUGE for summaries, BLEU, chrF and chrF++ for translations, as additive statistics of each sample; the baselines.

The sums of these statistics give the corpus value. So `slimseq.evaluation.bootstrap` can resample thousands of corpora
without scoring a text twice. Values equal those of `rouge-score` and `sacrebleu`, as in publications.
"""

import functools
import importlib.metadata
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rouge_score.scoring import fmeasure
from sacrebleu.metrics.bleu import BLEU, MAX_NGRAM_ORDER
from sacrebleu.metrics.chrf import CHRF

from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task

ROUGE_METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
METRICS: dict[Task, tuple[str, ...]] = {Task.SUMMARIZATION: ROUGE_METRICS, Task.TRANSLATION: ("bleu", "chrf", "chrf++")}
PRIMARY_METRIC: dict[Task, str] = {Task.SUMMARIZATION: "rougeL", Task.TRANSLATION: "bleu"}
# The trivial baselines, whose scores reports show beside every model's.
BASELINE_NAME: dict[Task, str] = {Task.SUMMARIZATION: "lead-3", Task.TRANSLATION: "source-copy"}
LEAD_SENTENCES = 3
# Maximum length of a lead. It matters for a text without full stops.
MAX_LEAD_WORDS = 1000

# Word n-grams of chrF++.
PLUS_PLUS_WORD_ORDER = 2
# The smoothing of `sacrebleu.corpus_bleu`, as in the signature. `BLEU.compute_bleu` has none by default.
BLEU_SMOOTHING = "exp"

Statistics = NDArray[np.float64]
ValueOf = Callable[[Statistics], Statistics]


@dataclass(frozen=True, eq=False)
class MetricStatistics:
    """One metric of one system's outputs.

    Attributes:
        metric: its name, one of `METRICS`.
        signature: how it was computed, in sacrebleu's format.
        per_sample: additive statistics, `(samples, statistics)`.
        value_of: turns summed statistics, `(corpora, statistics)`, into values between 0 and 100, `(corpora,)`.
    """

    metric: str
    signature: str
    per_sample: Statistics
    value_of: ValueOf

    @property
    def samples(self) -> int:
        return len(self.per_sample)

    @property
    def value(self) -> float:
        """The metric over all samples, between 0 and 100."""
        return float(self.value_of(self.per_sample.sum(axis=0, keepdims=True))[0])


def score(task: Task, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, MetricStatistics]:
    """Scores a system's outputs, with one reference each, by every metric that `METRICS` names for the task."""
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"cannot score {len(hypotheses)} hypotheses against {len(references)} references")
    statistics = _rouge if task is Task.SUMMARIZATION else _bleu_and_chrf
    return {each.metric: each for each in statistics(hypotheses, references)}


def baseline(task: Task, source: str) -> str:
    """Returns the first three sentences of a document, or the untranslated source."""
    if task is Task.SUMMARIZATION:
        return " ".join(" ".join(sentences(source)[:LEAD_SENTENCES]).split()[:MAX_LEAD_WORDS])
    return source


def _rouge(hypotheses: Sequence[str], references: Sequence[str]) -> list[MetricStatistics]:
    """Computes ROUGE F-measures with stemming; the corpus value is their mean (https://aclanthology.org/W04-1013)."""
    _, scorer = _rouge_score()
    scores = []
    for pair in zip(references, hypotheses, strict=True):
        reference, hypothesis = map(_one_sentence_a_line, pair)
        found = {name: each.fmeasure for name, each in scorer.score(reference, hypothesis).items()}
        scores.append(found | {"rougeL": rouge_l(reference, hypothesis)})
    signature = (
        f"nrefs:1|stemmer:yes|split:sentencex|tool:rouge-score|version:{importlib.metadata.version('rouge-score')}"
    )
    return [
        MetricStatistics(
            metric=metric,
            signature=signature,
            per_sample=np.array([[100.0 * each[metric], 1.0] for each in scores]),
            value_of=mean_of,
        )
        for metric in ROUGE_METRICS
    ]


def rouge_l(reference: str, output: str) -> float:
    """Returns the F-measure of ROUGE-L, between 0 and 1. Words are stemmed."""
    tokenizer, _ = _rouge_score()
    expected, found = tokenizer.tokenize(reference), tokenizer.tokenize(output)
    if not expected or not found:
        return 0.0
    hits = LCSseq.similarity(expected, found)
    return float(fmeasure(hits / len(found), hits / len(expected)))


@functools.cache
def _rouge_score() -> tuple[Any, Any]:
    """Returns the tokenizer of `rouge-score`, and its scorer of all metrics but ROUGE-L, where it is too slow."""
    # They import NLTK, which takes longer to import than the service has time for when it starts.
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=True)
    return tokenizer, RougeScorer([name for name in ROUGE_METRICS if name != "rougeL"], tokenizer=tokenizer)


def _one_sentence_a_line(text: str) -> str:
    # Reference summaries often have one sentence a line without full stops, so a line break ends a sentence.
    return "\n".join(sentence for line in text.splitlines() for sentence in sentences(line))


def mean_of(sums: Statistics) -> Statistics:
    """Turns sums of `(value, 1)`, `(corpora, 2)`, into means, `(corpora,)`."""
    return sums[:, 0] / sums[:, 1]


def _bleu_and_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[MetricStatistics]:
    # Without `force` sacrebleu warns of tokenized texts.
    bleu, chrf_plus_plus = (
        np.array(metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64)
        for metric in (BLEU(force=True), CHRF(word_order=PLUS_PLUS_WORD_ORDER))
    )
    # The counts of chrF++ begin with those of chrF.
    chrf = chrf_plus_plus[:, : 3 * CHRF.CHAR_ORDER]
    signatures = _sacrebleu_signatures()
    return [
        MetricStatistics("bleu", signatures["bleu"], bleu, _bleu_of),
        MetricStatistics("chrf", signatures["chrf"], chrf, _chrf_of),
        MetricStatistics("chrf++", signatures["chrf++"], chrf_plus_plus, _chrf_of),
    ]


@functools.cache
def _sacrebleu_signatures() -> dict[str, str]:
    one_reference = [[""]]
    metrics = {
        "bleu": BLEU(smooth_method=BLEU_SMOOTHING, references=one_reference),
        "chrf": CHRF(references=one_reference),
        "chrf++": CHRF(word_order=PLUS_PLUS_WORD_ORDER, references=one_reference),
    }
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def _bleu_of(sums: Statistics) -> Statistics:
    """Computes corpus BLEU with sacrebleu's formula (https://aclanthology.org/W18-6319) for many corpora at once.

    Values equal those of `BLEU.compute_bleu` to the last digit. `compute_bleu` takes five times as long, and
    significance tests need ten thousand values for two systems. The columns of a sum are the length of the hypotheses,
    the length of the references, the matches of 1- to 4-grams, and the number of 1- to 4-grams.
    """
    hypothesis_lengths, reference_lengths = sums[:, 0], sums[:, 1]
    matches, totals = sums[:, 2 : 2 + MAX_NGRAM_ORDER], sums[:, 2 + MAX_NGRAM_ORDER :]
    # All other corpora score 0.
    is_scored = matches.any(axis=1) & totals.all(axis=1)
    # `BLEU_SMOOTHING`: the first order without a match counts as 1/2 of a match, the second as 1/4, and so on.
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=1))[is_scored]
    precisions = (100.0 * smoothed / totals[is_scored]).tolist()
    ratios = (reference_lengths[is_scored] / hypothesis_lengths[is_scored]).tolist()
    values = np.zeros(len(sums))
    # Python's logarithms and its sum, because numpy's differ in the last digit.
    values[is_scored] = [
        min(1.0, math.exp(1 - ratio)) * math.exp(sum(map(math.log, orders)) / MAX_NGRAM_ORDER)
        for ratio, orders in zip(ratios, precisions, strict=True)
    ]
    return values


def _chrf_of(sums: Statistics) -> Statistics:
    """Computes chrF or chrF++ as sacrebleu does, for many corpora at once: orders that either side lacks are ignored.

    chrF compares character n-grams (https://aclanthology.org/W15-3049), chrF++ also words and pairs of words
    (https://aclanthology.org/W17-4770). Each order has three columns: n-grams of the hypotheses, n-grams of the
    references, and matches.
    """
    found, expected, matches = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)
    is_counted = (found > 0) & (expected > 0)
    orders = np.maximum(is_counted.sum(axis=1), 1)
    # One after the other, as sacrebleu does: numpy's own sum of eight orders differs in the last digit.
    precision, recall = (
        np.cumsum(np.divide(matches, total, out=np.zeros_like(matches), where=is_counted), axis=1)[:, -1] / orders
        for total in (found, expected)
    )
    weighted = CHRF.BETA**2 * precision + recall
    product = (1 + CHRF.BETA**2) * precision * recall
    values: Statistics = 100 * np.divide(product, weighted, out=np.zeros_like(product), where=weighted > 0)
    return values
