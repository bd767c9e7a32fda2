"""ROUGE for summaries, BLEU and chrF for translations, as additive statistics of each sample.

Their sums give the corpus value, so `slimseq.evaluation.bootstrap` can resample thousands of corpora without scoring a
text twice. Values are those of `rouge-score` (`slimseq.evaluation.rouge`) and `sacrebleu`, as in publications.
"""

import functools
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU, MAX_NGRAM_ORDER
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.helpers import extract_char_ngrams

from slimseq.evaluation.rouge import ROUGE_METRICS, Rouge
from slimseq.evaluation.sentences import sentences
from slimseq.models_store.manifest import Task

METRICS: dict[Task, tuple[str, ...]] = {Task.SUMMARIZATION: ROUGE_METRICS, Task.TRANSLATION: ("bleu", "chrf")}
PRIMARY_METRIC: dict[Task, str] = {Task.SUMMARIZATION: "rougeL", Task.TRANSLATION: "bleu"}

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
        """The number of samples."""
        return len(self.per_sample)

    @property
    def value(self) -> float:
        """The metric over all samples, between 0 and 100."""
        return float(self.value_of(self.per_sample.sum(axis=0, keepdims=True))[0])


@dataclass(frozen=True, eq=False)
class Scored:
    """Every metric of a task for one system's outputs, by metric name."""

    task: Task
    metrics: Mapping[str, MetricStatistics]


def score(task: Task, hypotheses: Sequence[str], references: Sequence[str]) -> Scored:
    """Scores a system's outputs, with one reference each.

    Args:
        task: chooses the metrics.
        hypotheses: one output a sample.
        references: the expected texts, in the same order.

    Returns:
        Statistics of every metric that `METRICS` names for the task.

    Raises:
        ValueError: there are no hypotheses, or not one reference for each.
    """
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"cannot score {len(hypotheses)} hypotheses against {len(references)} references")
    statistics = _rouge if task is Task.SUMMARIZATION else _bleu_and_chrf
    return Scored(task, {each.metric: each for each in statistics(hypotheses, references)})


def _rouge(hypotheses: Sequence[str], references: Sequence[str]) -> list[MetricStatistics]:
    """Computes ROUGE F-measures with stemming; the corpus value is their mean (https://aclanthology.org/W04-1013)."""
    rouge = Rouge()
    scores = [
        rouge.score(_one_sentence_a_line(reference), _one_sentence_a_line(hypothesis))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    signature = (
        f"nrefs:1|stemmer:yes|split:sentencex|tool:rouge-score|version:{importlib.metadata.version('rouge-score')}"
    )
    return [
        MetricStatistics(
            metric=metric,
            signature=signature,
            per_sample=np.array([[100.0 * each[metric], 1.0] for each in scores]),
            value_of=_mean,
        )
        for metric in ROUGE_METRICS
    ]


def _one_sentence_a_line(text: str) -> str:
    # Reference summaries often have one sentence a line without full stops, so a line break ends a sentence.
    return "\n".join(sentence for line in text.splitlines() for sentence in sentences(line))


def _mean(sums: Statistics) -> Statistics:
    mean: Statistics = sums[:, 0] / sums[:, 1]
    return mean


def _bleu_and_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[MetricStatistics]:
    bleu_signature, chrf_signature = _sacrebleu_signatures()
    # The effective order does not change the counts, which are all that is used; sacrebleu warns without it.
    bleu = BLEU(effective_order=True)
    pairs = list(zip(hypotheses, references, strict=True))
    bleu_counts = np.array([_bleu_counts(bleu, *pair) for pair in pairs], dtype=np.float64)
    chrf_counts = np.array([_chrf_counts(*pair) for pair in pairs], dtype=np.float64)
    return [
        MetricStatistics("bleu", bleu_signature, bleu_counts, _bleu_of),
        MetricStatistics("chrf", chrf_signature, chrf_counts, _chrf_of),
    ]


@functools.cache
def _sacrebleu_signatures() -> tuple[str, str]:
    one_reference = [[""]]
    return (
        str(BLEU(smooth_method=BLEU_SMOOTHING, references=one_reference).get_signature()),
        str(CHRF(references=one_reference).get_signature()),
    )


def _bleu_counts(bleu: BLEU, hypothesis: str, reference: str) -> list[int]:
    """Returns the counts of one sentence: its length, its reference's, matches of 1- to 4-grams, and 1- to 4-grams."""
    counted = bleu.sentence_score(hypothesis, [reference])
    return [counted.sys_len, counted.ref_len, *counted.counts, *counted.totals]


def _bleu_of(sums: Statistics) -> Statistics:
    """Computes corpus BLEU with sacrebleu's formula (https://aclanthology.org/W18-6319)."""
    values = []
    for hypothesis_length, reference_length, *counts in sums.astype(np.int64).tolist():
        matches, totals = counts[:MAX_NGRAM_ORDER], counts[MAX_NGRAM_ORDER:]
        bleu = BLEU.compute_bleu(matches, totals, hypothesis_length, reference_length, smooth_method=BLEU_SMOOTHING)
        values.append(bleu.score)
    return np.array(values, dtype=np.float64)


def _chrf_counts(hypothesis: str, reference: str) -> list[int]:
    """Returns the counts of one sentence for character 1- to 6-grams: hypothesis, reference and matches."""
    counts: list[int] = []
    # One order at a time: the n-grams of all orders of a long text need six times the memory.
    for order in range(1, CHRF.CHAR_ORDER + 1):
        found, expected = extract_char_ngrams(hypothesis, order), extract_char_ngrams(reference, order)
        counts += [found.total() if expected else 0, expected.total(), (found & expected).total()]
    return counts


def _chrf_of(sums: Statistics) -> Statistics:
    """Computes corpus chrF2 as sacrebleu does: orders that either side lacks are ignored (W15-3049)."""
    found, expected, matches = np.moveaxis(sums.reshape(len(sums), CHRF.CHAR_ORDER, 3), 2, 0)
    counts = (found > 0) & (expected > 0)
    orders = np.maximum(counts.sum(axis=1), 1)
    precision = np.divide(matches, found, out=np.zeros_like(matches), where=counts).sum(axis=1) / orders
    recall = np.divide(matches, expected, out=np.zeros_like(matches), where=counts).sum(axis=1) / orders
    factor = CHRF.BETA**2
    weighted = factor * precision + recall
    product = (1 + factor) * precision * recall
    values: Statistics = 100 * np.divide(product, weighted, out=np.zeros_like(product), where=weighted > 0)
    return values
