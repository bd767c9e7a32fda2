"""Selects the sentences that say most of a topic, where a model cannot read all of it.

A sentence scores by its similarity to the whole, with words weighted by rarity, and by its place: what comes first
weighs more (centroid and position of MEAD, Radev and others 2000, https://aclanthology.org/W00-0403).
"""

import heapq
import math
from collections import Counter
from collections.abc import Generator, Sequence

# Weight of the first place beside the similarity to the whole, which is at most 1. The second place has half of it.
PLACE_WEIGHT = 1.0
# Sentences of one step.
STEP_SENTENCES = 500


def selecting(words: Sequence[Sequence[str]], sizes: Sequence[int], available: int) -> Generator[None, None, list[int]]:
    """Selects the most salient sentences that fit, in small steps.

    Args:
        words: content words of each sentence.
        sizes: number of tokens of each sentence.
        available: number of tokens that all selected sentences may have.

    Returns:
        Their indices in reading order.
    """
    scores = yield from _scores(words)
    selected, left = [], available
    # A sentence has at least one token.
    for index in heapq.nlargest(available, range(len(words)), key=scores.__getitem__):
        if sizes[index] <= left:
            selected.append(index)
            left -= sizes[index]
    return sorted(selected)


def _scores(words: Sequence[Sequence[str]]) -> Generator[None, None, list[float]]:
    occurs: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for index, sentence in enumerate(words):
        occurs.update(set(sentence))
        total.update(sentence)
        if index % STEP_SENTENCES == 0:
            yield
    rarity = {word: math.log1p(len(words) / count) for word, count in occurs.items()}
    similarities = []
    for index, sentence in enumerate(words):
        counted = Counter(sentence)
        product = sum(count * total[word] * rarity[word] ** 2 for word, count in counted.items())
        length = math.hypot(*(count * rarity[word] for word, count in counted.items()))
        similarities.append(product / length if length else 0.0)
        if index % STEP_SENTENCES == 0:
            yield
    most = max(similarities, default=0.0) or 1.0
    return [similarity / most + PLACE_WEIGHT / (1 + index) for index, similarity in enumerate(similarities)]
