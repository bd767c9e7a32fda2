"""Runs the exported graphs step by step on given targets (teacher forcing), to measure activations.

Each step runs `decoder.onnx` as the engine does, with one token a row and all caches, but feeds the target's token.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from slimseq.inference.decoding.search import Ids
from slimseq.inference.engine.graph_runs import run_encoder
from slimseq.inference.graphs.tensor_names import (
    CACHE_SLOTS,
    CROSS_ATTENTION_BIAS,
    DISTANCES,
    LOG_SUM_EXP_ROWS,
    LOGIT_COLUMNS,
    MASKED,
    POSITIONS,
    SELF_ATTENTION_BIAS,
    TOP,
    decoder_caches,
)

Feeds = dict[str, NDArray[Any]]


def open_session(graph: Path | bytes) -> ort.InferenceSession:
    """Opens a graph, given as a file or as bytes, on the CPU, without warnings about its optimization."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Steps are short: spinning threads would only take time from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(graph) if isinstance(graph, Path) else graph, options, ["CPUExecutionProvider"])


@dataclass(frozen=True)
class TeacherForcedBatch:
    """Sources and their mask, `(rows, source_length)`, and the decoder's inputs, `(rows, steps)`, all int64."""

    sources: Ids
    mask: Ids
    tokens: Ids


def encoder_feeds(batch: TeacherForcedBatch) -> Feeds:
    return {"input_ids": batch.sources, "attention_mask": batch.mask}


def cross_feeds(encoder: Any, batch: TeacherForcedBatch) -> Feeds:
    """Runs the encoder; returns the inputs of the decoder graph that are the same at every step."""
    feeds = run_encoder(encoder, batch.sources, batch.mask)
    padding_bias = np.where(batch.mask > 0, np.float32(0.0), np.float32(MASKED))
    return feeds | {
        CROSS_ATTENTION_BIAS: padding_bias[:, None, None, :],
        TOP: np.ones(1, dtype=np.int64),
        LOG_SUM_EXP_ROWS: np.zeros(1, dtype=np.int64),
        LOGIT_COLUMNS: np.array([np.iinfo(np.int64).max]),
    }


def steps(decoder: Any, batch: TeacherForcedBatch, cross: Feeds) -> Iterator[tuple[Feeds, Feeds]]:
    """Yields the inputs and the outputs of each step, both by name."""
    output_names = [output.name for output in decoder.get_outputs()]
    shapes = {entry.name: entry.shape for entry in decoder.get_inputs()}
    # The graph reads each cache as one of its inputs, and writes it as one of its outputs.
    output_of_cache = decoder_caches(shapes)
    _, length = batch.tokens.shape

    caches = {name: _empty_cache(shapes[name], batch) for name in output_of_cache}
    for step in range(length):
        feeds: Feeds = {**_step_inputs(batch, step, shapes), **caches, **cross}
        # Some graphs lack some of these inputs, such as the distances.
        feeds = {name: values for name, values in feeds.items() if name in shapes}
        outputs = dict(zip(output_names, decoder.run(output_names, feeds), strict=True))
        yield feeds, outputs
        caches = {name: outputs[output_of_cache[name]] for name in caches}


def _empty_cache(shape: Sequence[Any], batch: TeacherForcedBatch) -> NDArray[Any]:
    """Returns a cache before the first step, with a slot for each step of the batch.

    A self-attention cache is `(rows, heads, 1, slots, width)`. Layers may differ in their heads. The state of a
    recurrent layer is `(rows, width)`.
    """
    rows, length = batch.tokens.shape
    width = shape[-1]
    is_state = len(shape) == 2
    if is_state:
        return np.zeros((rows, width), dtype=np.float32)
    heads = shape[1]
    return np.zeros((rows, heads, 1, length, width), dtype=np.float32)


def _step_inputs(batch: TeacherForcedBatch, step: int, shapes: Mapping[str, Sequence[Any]]) -> Feeds:
    """Returns the inputs of one step that are no caches: the tokens of the targets, and their place."""
    rows, length = batch.tokens.shape
    heads = shapes[CACHE_SLOTS][1] if CACHE_SLOTS in shapes else 1
    # Where each row and head writes into a cache: an index for each of its axes but the width.
    cache_slots = np.zeros((rows, heads, 4), dtype=np.int64)
    cache_slots[:, :, 0] = np.arange(rows)[:, None]
    cache_slots[:, :, 1] = np.arange(heads)
    cache_slots[:, :, 3] = step
    # How far each slot is behind this step. The slots of later steps are masked.
    distances = step - np.arange(length)
    self_attention_bias = np.where(distances < 0, np.float32(MASKED), np.float32(0.0))
    return {
        "input_ids": batch.tokens[:, step],
        POSITIONS: np.full(rows, step, dtype=np.int64),
        CACHE_SLOTS: cache_slots,
        SELF_ATTENTION_BIAS: np.tile(self_attention_bias, (rows, 1, 1, 1, 1)),
        DISTANCES: np.tile(distances.clip(min=0), (rows, 1, 1, 1)),
    }
