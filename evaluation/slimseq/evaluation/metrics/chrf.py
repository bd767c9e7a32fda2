"""chrF and chrF++ with the values of sacrebleu, as counts of each sample that add up to those of a corpus.

chrF compares character n-grams (Popović 2015, https://aclanthology.org/W15-3049), chrF++ also words and pairs of words
(Popović 2017, https://aclanthology.org/W17-4770).
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.helpers import extract_char_ngrams, extract_word_ngrams

# Word n-grams of chrF++.
PLUS_PLUS_WORD_ORDER = 2
_CHRF = CHRF()

Counts = NDArray[np.float64]


def chrf_counts(hypothesis: str, reference: str, word_order: int = 0) -> list[int]:
    """Counts the n-grams of one sample.

    Args:
        hypothesis: the output.
        reference: the expected text.
        word_order: maximum length of word n-grams; 0 for chrF, `PLUS_PLUS_WORD_ORDER` for chrF++.

    Returns:
        Three counts for each order: those of the hypothesis, of the reference, and the matches. First the 1- to
        6-grams of characters, then those of words.
    """
    counts: list[int] = []
    # One order at a time: the n-grams of all orders of a long text need six times the memory.
    for found, expected in zip(_ngrams(hypothesis, word_order), _ngrams(reference, word_order), strict=True):
        counts += [found.total() if expected else 0, expected.total(), (found & expected).total()]
    return counts


def chrf_of(counts: Counts) -> Counts:
    """Computes chrF or chrF++ as sacrebleu does: orders that either side lacks are ignored.

    Args:
        counts: summed counts, `(corpora, 3 * orders)`.

    Returns:
        Values between 0 and 100, `(corpora,)`.
    """
    found, expected, matches = np.moveaxis(counts.reshape(len(counts), -1, 3), 2, 0)
    is_counted = (found > 0) & (expected > 0)
    orders = np.maximum(is_counted.sum(axis=1), 1)
    precision = _sum(np.divide(matches, found, out=np.zeros_like(matches), where=is_counted)) / orders
    recall = _sum(np.divide(matches, expected, out=np.zeros_like(matches), where=is_counted)) / orders
    factor = CHRF.BETA**2
    weighted = factor * precision + recall
    product = (1 + factor) * precision * recall
    values: Counts = 100 * np.divide(product, weighted, out=np.zeros_like(product), where=weighted > 0)
    return values


def chrf(hypothesis: str, reference: str) -> float:
    """Returns the chrF of one output, between 0 and 100."""
    return float(chrf_of(np.array([chrf_counts(hypothesis, reference)], dtype=np.float64))[0])


def _sum(rows: Counts) -> Counts:
    # One after the other, as sacrebleu does: numpy's own sum of eight orders differs in the last digit.
    total: Counts = np.cumsum(rows, axis=1)[:, -1]
    return total


def _ngrams(text: str, word_order: int) -> Iterator[Counter[str]]:
    for order in range(1, CHRF.CHAR_ORDER + 1):
        yield extract_char_ngrams(text, order)
    if word_order:
        words = _CHRF._remove_punctuation(text)
        for order in range(1, word_order + 1):
            yield extract_word_ngrams(words, order)
