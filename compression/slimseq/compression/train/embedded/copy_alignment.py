"""Where a target repeats its source: the source position of each copied target token, found from ids alone.

No aligner is needed for tasks that copy, as summarization does: runs of equal tokens are the alignment.
"""

from collections.abc import Sequence

import torch

NOT_ALIGNED = -1
# Chance words agree in one token; a run of two is nearly always a copy.
SHORTEST_RUN = 2
# Runs are compared up to this length, which bounds the time for repetitive texts.
LONGEST_COMPARISON = 16


def copy_alignment(source: Sequence[int], target: Sequence[int]) -> list[int]:
    """Returns the source position that each target token was copied from, -1 where it was not.

    A token continues the run of the previous token if the source has the same next token. Otherwise a run begins at
    the occurrence with the longest agreement with the target, the first of equal ones, if at least 2 tokens agree.
    """
    places: dict[int, list[int]] = {}
    for place, token in enumerate(source):
        places.setdefault(token, []).append(place)
    aligned: list[int] = []
    previous = NOT_ALIGNED
    for index, token in enumerate(target):
        following = previous + 1
        if previous == NOT_ALIGNED or following >= len(source) or source[following] != token:
            following = _longest_run(source, target, index, places.get(token, ()))
        aligned.append(following)
        previous = following
    return aligned


def copy_alignments(sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the alignment of every row of a batch.

    Args:
        sources: ids, `(rows, source_length)`, int64. Padding is no target token, so that nothing aligns with it.
        targets: labels, `(rows, target_length)`, int64, -100 where there is no target.

    Returns:
        Source positions, `(rows, target_length)`, int64, -1 where a token was not copied, on the targets' device.
    """
    rows = [copy_alignment(*pair) for pair in zip(sources.tolist(), targets.tolist(), strict=True)]
    return torch.tensor(rows, dtype=torch.int64, device=targets.device)


def _longest_run(source: Sequence[int], target: Sequence[int], index: int, candidates: Sequence[int]) -> int:
    best, best_length = NOT_ALIGNED, SHORTEST_RUN - 1
    for place in candidates:
        most = min(len(source) - place, len(target) - index, LONGEST_COMPARISON)
        length = 1
        while length < most and source[place + length] == target[index + length]:
            length += 1
        if length > best_length:
            best, best_length = place, length
    return best
