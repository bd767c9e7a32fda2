"""Runs an encoder's graph: what it gives is what the decoder's graph takes at every step."""

from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids
from slimseq.inference.engine.denormals import without_denormals


def encoded(encoder: ort.InferenceSession, ids: Ids, mask: Ids) -> dict[str, NDArray[Any]]:
    """Returns cross-attention keys and values by the names of the decoder's inputs.

    Args:
        encoder: the session of `encoder.onnx`.
        ids: padded on the right, `(inputs, length)`, int64.
        mask: 1 where there is a token, like `ids`.
    """
    names = [output.name for output in encoder.get_outputs()]
    values = without_denormals(encoder.run, names, {"input_ids": ids, "attention_mask": mask})
    return {name.replace("present.", "past_key_values."): value for name, value in zip(names, values, strict=True)}
