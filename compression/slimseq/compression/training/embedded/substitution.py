"""Pairs in which some rare tokens are others, the same ones on both sides: copying that no language model can guess.

A model that copies names it has seen learns to expect them. Where any token may stand anywhere, only attention to the
source helps; the alignment of source and target stays what it was.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slimseq.evaluation.examples import Example

# Of the kinds of tokens that a target repeats from its source.
SHARE = 0.15
# What stands more often than so in a source is punctuation or a function word, which sentences are told apart by.
MOST_OCCURRENCES = 3


@dataclass(frozen=True)
class SubstitutedExample(Example):
    """An example whose rare tokens are partly to be replaced; `seed` decides which by what."""

    seed: int = 0


def substitutions(
    source: Sequence[int], target: Sequence[int], replaceable: Sequence[int], seed: int
) -> Mapping[int, int]:
    """Returns what some of the rare tokens that both sides have become.

    Args:
        source: ids.
        target: ids, many of them copied from the source.
        replaceable: ids, ascending, of what may be replaced and what replaces it.
        seed: decides which tokens become which.
    """
    draw = np.random.default_rng(seed)
    counts = Counter(source)
    rare = [token for token in sorted(set(target)) if 0 < counts[token] <= MOST_OCCURRENCES]
    return {
        token: int(draw.choice(replaceable)) for token in rare if _has(replaceable, token) and draw.random() < SHARE
    }


def _has(ids: Sequence[int], token: int) -> bool:
    place = bisect_left(ids, token)
    return place < len(ids) and ids[place] == token
