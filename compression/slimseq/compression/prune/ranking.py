"""Which parts stay: the most important ones, in the order in which they stood."""

import torch

from slimseq.compression.errors import BadParameters


def best(scores: torch.Tensor, keep: int, what: str) -> torch.Tensor:
    """Returns the indices of the highest scores, ascending; of equal ones the first.

    Args:
        scores: `(parts,)`.
        keep: how many stay.
        what: names the parts in the error.

    Returns:
        `(keep,)`, int64.

    Raises:
        BadParameters: `keep` is below 1 or above the number of parts.
    """
    if not 1 <= keep <= len(scores):
        raise BadParameters(f"cannot keep {keep} of {len(scores)} {what}")
    return scores.argsort(descending=True, stable=True)[:keep].sort().values


def expanded(kept: torch.Tensor, size: int) -> torch.Tensor:
    """Returns the positions that blocks of `size` values take: block `i` has `i * size` to `(i + 1) * size - 1`."""
    return (kept.unsqueeze(1) * size + torch.arange(size)).flatten()
