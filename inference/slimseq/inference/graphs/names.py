"""What our graphs call their inputs and outputs: all that the engine needs to know of them.

It is apart from what builds graphs, so that serving imports no graph library.
"""

import numpy as np

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
# What an export keeps its weights in, for all of its graphs.
WEIGHTS_DATA = "weights.data"
# Which graphs of ours an export holds: those that record others are made anew, for they may be slower or not run.
CONTRACT = "5"
PARTS = ("key", "value")
# The dimension of source positions.
SOURCE = "source_length"
# Inputs of one step beside caches.
POSITIONS = "positions"
PLACES = "places"
SELF_ATTENTION_BIAS = "own_scores"
DISTANCES = "distances"
CROSS_ATTENTION_BIAS = "source_scores"
TOP = "top"
LOG_SUM_EXP_ROWS = "normalised"
# Its outputs beside caches.
LOGITS = "logits"
TOP_LOGITS = "top_logits"
TOP_TOKENS = "top_tokens"
LOG_SUM_EXP = "normalisers"
# What is added to the scores of positions that are padding or another hypothesis', as transformers does it.
MASKED = float(np.finfo(np.float32).min)


def past(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of the keys and values that come in. `stack` is where their states come from."""
    key, value = (f"past_key_values.{layer}.{stack}.{part}" for part in PARTS)
    return key, value


def present(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of the keys and values that go out."""
    key, value = (f"present.{layer}.{stack}.{part}" for part in PARTS)
    return key, value
