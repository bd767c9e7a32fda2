"""Pads input ids and runs the encoder graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids
from slimseq.inference.engine.denormals import without_denormals


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Returns ids padded on the right and their attention mask, both `(rows, longest)`, int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
    return ids, mask


def run_encoder(encoder: ort.InferenceSession, ids: Ids, mask: Ids) -> dict[str, NDArray[Any]]:
    """Returns cross-attention keys and values by the names of the decoder's inputs, given ids and mask as of `pad`."""
    names = [output.name for output in encoder.get_outputs()]
    values = without_denormals(encoder.run, names, {"input_ids": ids, "attention_mask": mask})
    return {name.replace("present.", "past_key_values."): value for name, value in zip(names, values, strict=True)}
