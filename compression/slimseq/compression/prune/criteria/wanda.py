"""The criterion `wanda`: importance by weights and activations together, summed over the weights of a part."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.importance import (
    CALIBRATION_TOKENS,
    Importance,
    head_widths,
    residual_readers,
    residual_scores,
    weight_of,
)
from slimseq.compression.train.data.batches import IGNORED_LABEL, one_pass
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import logits_of, pad_id_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts by their activations times the weights that read these activations.

    It is Wanda's |weight| · ||input|| (Sun et al. 2023, https://arxiv.org/abs/2306.11695), summed over a part:

    - Feed-forward channels: root mean square of the channel's activation, times the L2 norm of its column in the down
      projection.
    - Heads: root mean square over positions of the L2 norm of what the head adds to the residual stream. It is exact,
      from the second moments of the head's output.
    - Residual channels (BART): root mean square at the output of each layer norm, times the L2 norm of the weights that
      read this output. Each layer norm has the same weight.
    """
    architecture = architecture_of_model(model)
    means, widths, readers = ActivationMeans(), head_widths(architecture), residual_readers(architecture)
    with ExitStack() as exits, torch.inference_mode(), context.progress() as display:
        for stack in architecture.stacks:
            for layer in stack.layers:
                reduced: dict[str, Reduce] = {layer.feed_forward.down: _squares}
                reduced |= {each.output: _head_moments(widths[each.output]) for each in layer.attentions}
                for name, reduce in reduced.items():
                    hook = means.input_hook(name, stack.name, reduce)
                    exits.callback(model.get_submodule(name).register_forward_pre_hook(hook).remove)
            for norm in readers.keys() & set(stack.norms):
                output_hook = means.output_hook(norm, stack.name, _squares)
                exits.callback(model.get_submodule(norm).register_forward_hook(output_hook).remove)
        task = display.add_task("Measuring importance", total=len(calibration), status="")
        means.measure(model, calibration, lambda rows: display.advance(task, rows))

    def reading(norm: str) -> torch.Tensor:
        weights: torch.Tensor = torch.cat([weight_of(model, name) for name in readers[norm]]).norm(dim=0)
        return means.of(norm).sqrt() * weights

    downs = [layer.feed_forward.down for layer in architecture.layers]
    return Importance(
        {name: (means.of(name).sqrt() * weight_of(model, name).float().norm(dim=0)).cpu() for name in downs},
        {name: _head_scores(means.of(name), weight_of(model, name).float(), width) for name, width in widths.items()},
        residual_scores({norm: reading(norm) for norm in readers}),
    )


# Sums a statistic of activations, `(positions, channels)`, over the positions.
Reduce = Callable[[torch.Tensor], torch.Tensor]


class ActivationMeans:
    """Means of statistics of activations at modules, over all positions that are not padding.

    Hooks at the modules add the statistics while `measure` runs the model.
    """

    def __init__(self) -> None:
        # Which positions of the current batch count, `(rows, length)`, for the `encoder` and the `decoder`.
        self._masks: dict[str, torch.Tensor] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def measure(
        self, model: "PreTrainedModel", pairs: TrainingSet, advance: Callable[[int], object] = lambda _: None
    ) -> None:
        """Runs a model whose modules have the hooks; `advance` is called with the number of pairs of each batch."""
        for batch in one_pass(pairs, CALIBRATION_TOKENS, pad_id_of(model)):
            on_device = batch.to(str(model.device))
            self._masks = {"encoder": on_device.attention_mask.bool(), "decoder": on_device.labels != IGNORED_LABEL}
            logits_of(model, on_device)
            advance(batch.rows)

    def of(self, name: str) -> torch.Tensor:
        return self._sums[name] / self._counts[name]

    def take(self, name: str) -> torch.Tensor:
        """Returns the mean at a module and forgets it, so that its memory is free afterwards."""
        return self._sums.pop(name) / self._counts.pop(name)

    def input_hook(self, name: str, stack: str, reduce: Reduce) -> Callable[..., None]:
        return lambda _module, inputs: self._add(name, inputs[0], stack, reduce)

    def output_hook(self, name: str, stack: str, reduce: Reduce) -> Callable[..., Any]:
        return lambda _module, _inputs, output: self._add(name, output, stack, reduce)

    def _add(self, name: str, values: torch.Tensor, stack: str, reduce: Reduce) -> None:
        mask = self._masks[stack]
        found = values.reshape(*mask.shape, -1)[mask].float()
        total = reduce(found)
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + found.shape[0]


def _squares(values: torch.Tensor) -> torch.Tensor:
    return values.square().sum(0)


def _head_moments(head_width: int) -> Reduce:
    """Returns a function that sums the second moments of each head's values, `(heads, head_width, head_width)`."""

    def moments(values: torch.Tensor) -> torch.Tensor:
        heads = values.reshape(len(values), -1, head_width)
        return torch.einsum("nhi,nhj->hij", heads, heads)

    return moments


def _head_scores(moments: torch.Tensor, output: torch.Tensor, head_width: int) -> torch.Tensor:
    """Returns sqrt(E ||W_h x_h||²) = sqrt(trace(W_h E[x_h x_hᵀ] W_hᵀ)) for each head.

    `moments` are those of the heads' outputs, `(heads, head_width, head_width)`, `output` is `(width, heads *
    head_width)`.
    """
    slices = output.reshape(output.shape[0], -1, head_width)
    return torch.einsum("whi,hij,whj->h", slices, moments, slices).clamp(min=0).sqrt().cpu()
