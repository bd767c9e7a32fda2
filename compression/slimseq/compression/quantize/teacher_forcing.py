"""Runs exported graphs step by step over known targets: what calibration and the measuring of divergence feed on.

Each step goes through `decoder.onnx` as the runtime does it, one token a row with all caches, but the token is the
target's and not the one that the model prefers: every model sees the same inputs, so that their outputs compare.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids, Scores
from slimseq.inference.engine.encoder import pad, run_encoder
from slimseq.inference.graphs.names import (
    CACHE_SLOTS,
    CROSS_ATTENTION_BIAS,
    DISTANCES,
    LOG_SUM_EXP_ROWS,
    LOGITS,
    MASKED,
    POSITIONS,
    SELF_ATTENTION_BIAS,
    TOP,
)
from slimseq.inference.models.configuration import ModelConfiguration

if TYPE_CHECKING:
    from slimseq.compression.training.data import TrainingSet

Feeds = dict[str, NDArray[Any]]
ROWS = 32


@dataclass(frozen=True)
class Batch:
    """A few pairs. `sources` and their `mask` are `(rows, source_length)`, int64.

    `tokens` `(rows, steps)` are the decoder's inputs, the start token first; `is_target` says at which steps a row
    still has a target to predict.
    """

    sources: Ids
    mask: Ids
    tokens: Ids
    is_target: NDArray[np.bool_]


def batches(dataset: "TrainingSet", configuration: ModelConfiguration, max_steps: int) -> list[Batch]:
    """Returns all pairs in batches of similar lengths, targets cut after `max_steps` tokens."""
    pairs = sorted((dataset[index] for index in range(len(dataset))), key=lambda pair: len(pair.target))
    made = []
    for start in range(0, len(pairs), ROWS):
        rows = pairs[start : start + ROWS]
        sources, mask = pad([pair.source for pair in rows], configuration.pad_id)
        inputs = [[configuration.decoder_start_id, *pair.target[: max_steps - 1]] for pair in rows]
        tokens, _ = pad(inputs, configuration.pad_id)
        steps = np.arange(tokens.shape[1])
        lengths = np.array([min(len(pair.target), max_steps) for pair in rows])
        made.append(Batch(sources, mask, tokens, steps[None, :] < lengths[:, None]))
    return made


def encoder_feeds(batch: Batch) -> Feeds:
    """Returns the encoder graph's inputs."""
    return {"input_ids": batch.sources, "attention_mask": batch.mask}


def cross_feeds(encoder: Any, batch: Batch) -> Feeds:
    """Runs the encoder; returns the decoder graph's inputs that are the same at every step."""
    feeds = run_encoder(encoder, batch.sources, batch.mask)
    absent = np.where(batch.mask > 0, np.float32(0.0), np.float32(MASKED))
    return feeds | {
        CROSS_ATTENTION_BIAS: absent[:, None, None, :],
        TOP: np.ones(1, dtype=np.int64),
        LOG_SUM_EXP_ROWS: np.zeros(1, dtype=np.int64),
    }


def steps(decoder: Any, batch: Batch, cross: Feeds) -> Iterator[tuple[Feeds, Scores]]:
    """Yields each step's inputs and the logits that the decoder gives, `(rows, vocabulary)`, float32."""
    return ((feeds, outputs[LOGITS]) for feeds, outputs in whole_steps(decoder, batch, cross))


def whole_steps(decoder: Any, batch: Batch, cross: Feeds) -> Iterator[tuple[Feeds, Feeds]]:
    """Yields each step's inputs and all that the decoder gives, both by name."""
    names = [output.name for output in decoder.get_outputs()]
    rows, length = batch.tokens.shape
    caches = _empty_caches(decoder, rows, length)
    heads = next(iter(caches.values())).shape[1]
    asked = {entry.name for entry in decoder.get_inputs()}
    for step in range(length):
        cache_slots = np.zeros((rows, heads, 4), dtype=np.int64)
        cache_slots[:, :, 0], cache_slots[:, :, 1], cache_slots[:, :, 3] = (
            np.arange(rows)[:, None],
            np.arange(heads),
            step,
        )
        distances = step - np.arange(length)
        self_attention_bias = np.where(distances < 0, np.float32(MASKED), np.float32(0.0))
        now = {
            "input_ids": batch.tokens[:, step],
            POSITIONS: np.full(rows, step, dtype=np.int64),
            CACHE_SLOTS: cache_slots,
            SELF_ATTENTION_BIAS: np.tile(self_attention_bias, (rows, 1, 1, 1, 1)),
            DISTANCES: np.tile(distances.clip(min=0), (rows, 1)),
        }
        feeds = {name: values for name, values in {**now, **caches, **cross}.items() if name in asked}
        outputs = dict(zip(names, decoder.run(names, feeds), strict=True))
        yield feeds, outputs
        caches = {name: outputs[name.replace("past_key_values.", "present.")] for name in caches}


def _empty_caches(decoder: Any, rows: int, length: int) -> Feeds:
    caches = {}
    for entry in decoder.get_inputs():
        if entry.name.startswith("past_key_values.") and ".decoder." in entry.name:
            _, heads, _, _, width = entry.shape
            caches[entry.name] = np.zeros((rows, heads, 1, length, width), dtype=np.float32)
    return caches
