"""Finds where a long text turns to another topic, such as from one article to the next, by the words that it repeats.

The segmentation is the cheapest one, as in Utiyama and Isahara 2001 (https://aclanthology.org/P01-1064): each segment
draws its words from a distribution of its own. Parts of one article differ too, but they share its names and terms. So
a division must gain a share of what it would gain if the segments had no word in common. The number of topics is found
too, and nothing is trained.
"""

import re
from collections import Counter
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

# So that the summary of a text has an end.
MAX_TOPICS = 16
# Sentences that are divided at once. Where they are one topic, the next ones begin in their middle.
WINDOW_SENTENCES = 100
# Share of the gain of segments without a common word that a division must have, and what it must gain above that, in
# nats. Chosen on articles of CNN/DailyMail (training) and of the bundled sample: docs/decisions/028-long-documents.md.
MIN_SHARE = 0.74
MIN_GAIN = 18.0
# The same where the text itself says where topics may begin.
MIN_GAIN_AT_PLACES = 14.0
# Shorter words are mostly function words, which say nothing about a topic.
MIN_LETTERS = 5
# Words with the same first letters are taken as forms of one word.
STEM_LETTERS = 6
_WORD = re.compile(r"\w+")

Numbers = NDArray[np.float64]


def words_of(text: str) -> list[str]:
    """Returns the content words of a text as stems, lowercase."""
    return [word[:STEM_LETTERS] for word in _WORD.findall(text.lower()) if len(word) >= MIN_LETTERS]


def dividing(words: Sequence[Sequence[str]], may_begin: Sequence[bool]) -> Generator[None, None, list[int]]:
    """Divides sentences into topics, in small steps.

    Args:
        words: content words of each sentence; at least one sentence.
        may_begin: for each sentence, whether a topic may begin there.

    Returns:
        The index of the first sentence of each topic; the first one is 0. If there are too many topics, neighbours are
        taken together.
    """
    gain = MIN_GAIN if all(may_begin) else MIN_GAIN_AT_PLACES
    topics, start, end = [0], 0, 0
    while end < len(words):
        end = min(start + WINDOW_SENTENCES, len(words))
        found = _cheapest((yield from _costs(words[start:end], may_begin[start:end])), gain)
        topics += [start + place for place in found[1:]]
        start += found[-1] or WINDOW_SENTENCES // 2
    groups = min(len(topics), MAX_TOPICS)
    return [topics[len(topics) * group // groups] for group in range(groups)]


def _costs(words: Sequence[Sequence[str]], may_begin: Sequence[bool]) -> Generator[None, None, Numbers]:
    """Computes the cost of each segment, in nats.

    It is the negative log-likelihood of the segment's words with Laplace's smoothing, less the share that a division
    must gain.

    Args:
        words: of each sentence.
        may_begin: for each sentence but the first, whether a segment may begin there.

    Returns:
        `(first sentence, last sentence)`, infinite where there is no such segment.
    """
    counted = Counter(word for sentence in words for word in sentence)
    column = {word: place for place, word in enumerate(word for word, count in counted.items() if count > 1)}
    # How often each repeated word is before each sentence, and the number of words that are there once.
    repeated = np.zeros((len(words) + 1, len(column)), dtype=np.int32)
    single = np.zeros(len(words) + 1, dtype=np.int32)
    for place, sentence in enumerate(words, 1):
        for word in sentence:
            if word in column:
                repeated[place, column[word]] += 1
            else:
                single[place] += 1
    yield
    repeated, single = repeated.cumsum(axis=0, dtype=np.int32), single.cumsum(dtype=np.int32)
    numbers = np.arange(max(counted.values(), default=0) + 1)
    logarithms = numbers * np.log1p(numbers)
    costs = np.full((len(words), len(words)), np.inf)
    for start in range(len(words)):
        if start and not may_begin[start]:
            continue
        counts, once = repeated[start + 1 :] - repeated[start], single[start + 1 :] - single[start]
        size, distinct = counts.sum(axis=1) + once, np.count_nonzero(counts, axis=1) + once
        likelihood = logarithms[counts].sum(axis=1) + np.log(2) * once - size * np.log(np.maximum(size + distinct, 1))
        costs[start, start:] = -likelihood - MIN_SHARE * size * np.log(np.maximum(size, 1))
        yield
    return costs


def _cheapest(costs: Numbers, gain: float) -> list[int]:
    """Returns the first sentence of each segment of the cheapest segmentation, each with a further cost of `gain`."""
    sentences = len(costs)
    best, begins = np.zeros(sentences + 1), np.zeros(sentences, dtype=np.int64)
    for last in range(sentences):
        options = best[: last + 1] + costs[: last + 1, last]
        # Of equal ones the last: a sentence without words belongs to what is before it.
        begins[last] = last - options[::-1].argmin()
        best[last + 1] = options[begins[last]] + gain
    found: list[int] = []
    last = sentences - 1
    while last >= 0:
        found.append(int(begins[last]))
        last = found[-1] - 1
    return found[::-1]
