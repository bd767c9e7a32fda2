"""How much of the losses of a model is measured within a time, and in which batches."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.model_parts import parts_of
from slimseq.compression.train.data.batches import Batch, one_pass
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import encoded_by, logits_of, pad_id_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Shares of the bound of the time: for the ranking, which runs all calibration pairs, and for whole layers. Probes of
# parts get what is left.
RANKING_SHARE = 0.4
LAYERS_SHARE = 0.2
# Fewest pairs for a measurement in a bounded time: with fewer, chance decides.
FEWEST_PAIRS = 8
# The logits of a batch take at most this share of the bytes of the model, but a batch has a few tokens in any case.
# Several tensors of their size are in memory at a time.
LOGITS_SHARE = 0.1
FEWEST_BATCH_TOKENS = 256
MOST_BATCH_TOKENS = 1024
BYTES_PER_LOGIT = 4
# Levels of a part that are probed at most: more than any part has.
MOST_LEVELS = 100
# Layers that are tried for each removal after the first: those whose removal added least when it was last tried.
LAYERS_TRIED = 4


def least_seconds(model: "PreTrainedModel", probes: TrainingSet, context: Context) -> float:
    """Returns about how long the probes of `measure_losses` take at least, whatever aim they are given.

    Each part and each layer is probed on a few pairs in any case. Afterwards the model is on `context.device` and in
    evaluation mode.
    """
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    batch = small_batches(model, probes, context.seed)[0].to(context.device)
    with torch.inference_mode():
        encoded = encoded_by(model, batch)
    total = 0.0
    for stack in architecture_of_model(model).stacks:
        # Probes of the decoder begin with the outputs of the encoder.
        known = encoded if stack.name == "decoder" else None
        parts = sum(part.stack == stack.name for part in parts_of(model))
        passes = parts + len(stack.layers) * (1 + LAYERS_TRIED)
        total += FEWEST_PAIRS * passes * seconds_of_pair(model, batch, context, known)
    return total


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    parts: int
    layers: int
    probe_pairs: int
    layer_pairs: int
    """Pairs on which whole layers are tried."""
    probed_levels: int = MOST_LEVELS
    """Levels of each part that are probed, at most."""

    @classmethod
    def whole(cls, model: "PreTrainedModel", probe_pairs: int) -> "Effort":
        layers = len(architecture_of_model(model).layers)
        return cls(len(parts_of(model)), layers, probe_pairs, probe_pairs)

    def within(self, seconds: float, seconds_of_pair: float) -> "Effort":
        """Returns an effort that takes about some time, given the time of one forward pass of a pair."""

        def affordable(share: float, passes: int, pairs: int) -> int:
            return min(pairs, max(FEWEST_PAIRS, int(seconds * share / (seconds_of_pair * passes))))

        # Each layer is tried once, and LAYERS_TRIED of those left are tried after each removal.
        layer_passes = self.layers * (1 + LAYERS_TRIED)
        probe_seconds = seconds * (1 - RANKING_SHARE - LAYERS_SHARE)
        levels = int(probe_seconds / (seconds_of_pair * self.probe_pairs * self.parts))
        return replace(
            self,
            layer_pairs=affordable(LAYERS_SHARE, layer_passes, self.layer_pairs),
            probed_levels=min(MOST_LEVELS, max(1, levels)),
        )


def small_batches(model: "PreTrainedModel", pairs: TrainingSet, seed: int) -> list[Batch]:
    """Returns all pairs in small batches, in an order of the seed, so that the first ones are like all."""
    batches = list(one_pass(pairs, batch_tokens(model), pad_id_of(model)))
    random.Random(seed).shuffle(batches)
    return batches


def first_batches(batches: Sequence[Batch], pairs: int) -> list[Batch]:
    """Returns the first batches that have at least some number of pairs together."""
    found: list[Batch] = []
    for batch in batches:
        if sum(each.rows for each in found) >= pairs:
            break
        found.append(batch)
    return found


def batch_tokens(model: "PreTrainedModel") -> int:
    """Returns how many tokens a batch has, as rows times their longest side: its logits must fit into memory."""
    model_bytes = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    affordable = int(LOGITS_SHARE * model_bytes / (BYTES_PER_LOGIT * model.config.vocab_size))
    return min(max(affordable, FEWEST_BATCH_TOKENS), MOST_BATCH_TOKENS)


def seconds_of_pair(model: "PreTrainedModel", batch: Batch, context: Context, encoded: Any = None) -> float:
    """Measures the time of a forward pass, in seconds a pair, the second of two. `encoded` leaves out the encoder."""
    on_device, seconds = batch.to(context.device), 0.0
    with torch.inference_mode():
        for _ in range(2):
            started = time.monotonic()
            float(logits_of(model, on_device, encoded).sum())
            seconds = time.monotonic() - started
    return seconds / batch.rows
