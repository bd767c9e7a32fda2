"""Names of the graphs' files, inputs and outputs: the contract between the graph builder and the engine.

The engine imports only this module of `graphs`, so that serving needs no graph library. Some strings differ from the
names of their constants, because existing graphs have these strings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
# The weights of both graphs.
WEIGHTS_DATA = "weights.data"
# Version of the contract. An export with another version is built again, since it may be slower or fail to run.
CONTRACT = "6"
PARTS = ("key", "value")
# The dimension of input positions.
SOURCE = "source_length"
# Inputs of a decoder step other than caches. `slimseq.inference.graphs.caches` has their shapes and meaning.
POSITIONS = "positions"
CACHE_SLOTS = "places"
SELF_ATTENTION_BIAS = "own_scores"
DISTANCES = "distances"
CROSS_ATTENTION_BIAS = "source_scores"
TOP = "top"
LOG_SUM_EXP_ROWS = "normalised"
LOGIT_COLUMNS = "logit_columns"  # In place of `LOG_SUM_EXP_ROWS` after `split_projection`.
# Outputs of a decoder step other than caches.
LOGITS = "logits"
TOP_LOGITS = "top_logits"
TOP_TOKENS = "top_tokens"
LOG_SUM_EXP = "normalisers"
# Inputs of a decoder that may multiply with the columns of candidates alone, which
# `slimseq.inference.engine.shortlist_candidates` fills.
IS_SHORTLISTED = "is_shortlisted"
CANDIDATE_MATRIX = "candidate_matrix"
CANDIDATE_SCALES = "candidate_scales"
# The graph that reads those columns, and its input.
COLUMNS = "columns.onnx"
CANDIDATES = "candidates"
# Prefix of the nodes of the output projection, and the name of its matmul.
LM_HEAD = "/lm_head"
LM_HEAD_MATMUL = f"{LM_HEAD}/MatMul"
# The largest vocabulary, in tokens, whose projection stays one matrix.
MAX_WHOLE_VOCABULARY = 100_000
# Bias of masked attention scores, as in transformers.
MASKED = float(np.finfo(np.float32).min)


def has_split_projection(vocabulary: int) -> bool:
    """Whether the decoder graph computes the logits of a vocabulary of this size in blocks (`split_projection`)."""
    return vocabulary > MAX_WHOLE_VOCABULARY


def past_state(layer: int) -> str:
    """Returns the name of a recurrent layer's input state, which it has in place of self-attention caches."""
    return f"past_key_values.{layer}.decoder.state"


def decoder_caches(inputs: Iterable[str]) -> dict[str, str]:
    """Returns which output updates each self-attention cache or state among the inputs of a decoder graph."""
    return {name: name.replace("past_key_values.", "present.") for name in inputs if ".decoder." in name}


def past(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of a layer's input keys and values. `stack` is the stack whose states they are made from."""
    key, value = (f"past_key_values.{layer}.{stack}.{part}" for part in PARTS)
    return key, value


def present(layer: int, stack: str) -> tuple[str, str]:
    """Returns the names of a layer's output keys and values, as `past` does for inputs."""
    key, value = (f"present.{layer}.{stack}.{part}" for part in PARTS)
    return key, value


@dataclass(frozen=True)
class DecoderInputs:
    """The inputs of one decoder graph, and which of them are caches. An engine reads them once.

    Args:
        shapes: of all inputs, by name. A dimension that is known at run time only has a name.
        updated: the output that updates each self-attention cache or recurrent state.
        cross_attention: the keys and values of cross-attention, and their scales where they are int8.
    """

    shapes: Mapping[str, Sequence[int | str]]
    updated: Mapping[str, str]
    cross_attention: Sequence[str]
    is_recurrent: bool

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int | str]], layers: int) -> "DecoderInputs":
        prefixes = tuple(name for layer in range(layers) for name in past(layer, "encoder"))
        cross_attention = [name for name in shapes if name.startswith(prefixes)]
        return cls(shapes, decoder_caches(shapes), cross_attention, is_recurrent=past_state(0) in shapes)
