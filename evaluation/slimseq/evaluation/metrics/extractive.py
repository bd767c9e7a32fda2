"""How extractive and how long summaries are: copy rate, density and length ratio. They describe, and do not rank.

Copy rate and density are coverage and density of extractive fragments (Grusky, Naaman and Artzi 2018,
https://aclanthology.org/N18-1065): the fragments are found greedily, each the longest run of words of the document that
begins at the next word of the summary.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from slimseq.evaluation.metrics import MetricStatistics, Statistics, mean_of

EXTRACTIVE_METRICS = ("copy_rate", "density", "length_ratio")
SIGNATURE = "case:lc|words:unicode|fragments:greedy"
_WORD = re.compile(r"\w+")


def describe_summaries(
    documents: Sequence[str], summaries: Sequence[str], targets: Sequence[str]
) -> list[MetricStatistics]:
    """Describes summaries, one a document.

    Returns:
        `copy_rate`: share of the words that are in extractive fragments, in percent, mean over the summaries.
        `density`: mean length of the fragment that a word is in, in words, mean over the summaries.
        `length_ratio`: words of all summaries for each word of all targets.
    """
    copied, dense, lengths = [], [], []
    for document, summary, target in zip(documents, summaries, targets, strict=True):
        words = _words(summary)
        fragments = list(fragment_lengths(_words(document), words))
        count = max(len(words), 1)
        copied.append([100.0 * sum(fragments) / count, 1.0])
        dense.append([sum(length * length for length in fragments) / count, 1.0])
        lengths.append([float(len(words)), float(len(_words(target)))])
    return [
        MetricStatistics("copy_rate", SIGNATURE, np.array(copied), mean_of),
        MetricStatistics("density", SIGNATURE, np.array(dense), mean_of),
        MetricStatistics("length_ratio", SIGNATURE, np.array(lengths), _ratio),
    ]


def fragment_lengths(document: Sequence[str], summary: Sequence[str]) -> Iterator[int]:
    """Yields the lengths of a summary's extractive fragments, in words."""
    # Each word is one character, so that Python's linear search for substrings finds runs of words.
    characters: dict[str, str] = {}
    text, rest = (
        "".join(characters.setdefault(word, chr(len(characters))) for word in words) for words in (document, summary)
    )
    place = 0
    while place < len(rest):
        length = 0
        if rest[place] in text:
            # A run of the document is there if all its beginnings are.
            ends = range(place + 1, len(rest) + 1)
            start = place
            length = bisect_left(ends, True, key=lambda end: rest[start:end] not in text)
            yield length
        place += max(length, 1)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _ratio(sums: Statistics) -> Statistics:
    ratio: Statistics = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
    return ratio
