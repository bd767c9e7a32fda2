"""Rows of different lengths as one array."""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.decoding.scores import Ids


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Returns ids padded on the right and their mask, both `(rows, longest)`, int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
    return ids, mask
