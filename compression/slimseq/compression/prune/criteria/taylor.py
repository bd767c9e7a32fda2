"""Importance by what the loss would lose: first-order Taylor expansion on calibration data."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import (
    CALIBRATION_TOKENS,
    Importance,
    head_widths,
    residual_readers,
    residual_scores,
)
from slimseq.compression.train.data.batches import IGNORED_LABEL, one_pass
from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.forward import logits_of, pad_id_of


def score(model: PreTrainedModel, calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts by how much the loss changes, to first order, when they are gone.

    Every part's output is multiplied by a gate of 1, one a pair; the gate's gradient is the sum over positions of
    gradient times activation, whose absolute value is averaged over pairs (Michel et al. 2019 for heads,
    https://arxiv.org/abs/1905.10650; Molchanov et al. 2019 for channels, https://arxiv.org/abs/1906.10771). The loss
    is the sum of a pair's cross entropies, in nats. Residual channels (BART) are gated after each layer norm, every
    norm counting the same. Weights get no gradients, so memory stays near that of a forward pass.
    """
    architecture = architecture_of_model(model)
    gates = _Gates()
    downs = [layer.feed_forward.down for layer in architecture.layers]
    outputs = head_widths(architecture)
    norms = list(residual_readers(architecture))
    with ExitStack() as exits:
        for name, size in {**dict.fromkeys(downs, 1), **outputs}.items():
            exits.callback(model.get_submodule(name).register_forward_pre_hook(gates.input_hook(name, size)).remove)
        for name in norms:
            exits.callback(model.get_submodule(name).register_forward_hook(gates.output_hook(name)).remove)
        for parameter in [each for each in model.parameters() if each.requires_grad]:
            exits.callback(parameter.requires_grad_(False).requires_grad_, True)
        display = exits.enter_context(context.progress())
        task = display.add_task("Measuring importance", total=len(calibration), status="")
        for batch in one_pass(calibration, CALIBRATION_TOKENS, pad_id_of(model)):
            on_device = batch.to(context.device)
            gates.rows = batch.rows
            # A pair's gates touch that pair's loss alone, so one backward pass over the sum gives each pair's own.
            logits = logits_of(model, on_device).float()
            labels = on_device.labels
            loss = functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
            )
            gates.collect(loss)
            display.advance(task, batch.rows)
    return Importance(
        {name: gates.mean(name) for name in downs},
        {name: gates.mean(name) for name in outputs},
        residual_scores({name: gates.mean(name) for name in norms}),
    )


class _Gates:
    """Gates of 1 at chosen modules, and the sums of their gradients' absolute values."""

    def __init__(self) -> None:
        self.rows = 0
        self._open: dict[str, torch.Tensor] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._pairs = 0

    def input_hook(self, name: str, size: int) -> Callable[..., Any]:
        """Returns a hook that gates what goes into a module, in blocks of `size` channels."""
        return lambda _module, inputs: (self._gated(name, inputs[0], size), *inputs[1:])

    def output_hook(self, name: str) -> Callable[..., Any]:
        """Returns a hook that gates what comes out of a module, by channel."""
        return lambda _module, _inputs, output: self._gated(name, output, 1)

    def collect(self, loss: torch.Tensor) -> None:
        """Adds up the gates' gradients of one batch."""
        names = list(self._open)
        gradients = torch.autograd.grad(loss, [self._open[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            total = gradient.abs().sum(0).flatten().float().cpu()
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._open.clear()
        self._pairs += self.rows

    def mean(self, name: str) -> torch.Tensor:
        """Returns a module's scores, `(blocks,)`, in nats a pair."""
        return self._sums[name] / self._pairs

    def _gated(self, name: str, values: torch.Tensor, size: int) -> torch.Tensor:
        blocks = values.shape[-1] // size
        gate = torch.ones(self.rows, 1, blocks, 1, device=values.device, dtype=values.dtype, requires_grad=True)
        self._open[name] = gate
        return (values.reshape(self.rows, -1, blocks, size) * gate).reshape(values.shape)
