"""Replaces some rare tokens of a pair by random ones, the same on both sides, so that copying cannot be guessed.

A model that copies known names learns to expect them. If any token may be at any position, only attention to the source
helps. The alignment of source and target does not change.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slimseq.evaluation.dataset_files import Example

# Share of the distinct rare tokens that are replaced.
SHARE = 0.15
# Tokens that are more frequent in a source are punctuation or function words.
MOST_OCCURRENCES = 3


@dataclass(frozen=True)
class SubstitutedExample(Example):
    """An example with rare tokens to replace; `seed` determines which tokens and their replacements."""

    seed: int = 0


def substitutions(
    source: Sequence[int], target: Sequence[int], replaceable: Sequence[int], seed: int
) -> Mapping[int, int]:
    """Chooses some rare tokens that are on both sides; returns their replacements.

    `replaceable` has the ids, ascending, that may be replaced and that are replacements.
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
