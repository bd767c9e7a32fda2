"""Importance by weight and activation together: Wanda, summed over structures."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.activation_statistics import ActivationStatistics
from slimseq.compression.prune.importance import Importance, residual_readers, residual_scores, weight_of
from slimseq.compression.train.data.pairs import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts by what flows through them times the weights that take it up.

    Feed-forward channels: root mean square of what the channel sends into the down projection, times the L2 norm of
    its column there (Wanda's |weight| · ||input||, summed over a structure; Sun et al. 2023,
    https://arxiv.org/abs/2306.11695). Heads: root mean square over positions of the L2 norm of what the head adds to
    the residual stream, exactly, from the second moments of its output. Residual channels (BART): root mean square at
    each layer norm's output times the L2 norm of the weights that read it there; every layer norm counts the same.

    Args:
        model: of any family, in evaluation mode on `context.device`; left as it is.
        calibration: all pairs are run. Padding is left out.
        context: device and progress.
    """
    architecture = architecture_of_model(model)
    statistics = ActivationStatistics(model)
    # Of each attention's heads, by its output projection.
    head_widths: dict[str, int] = {}
    readers = residual_readers(architecture)
    for stack in architecture.stacks:
        for layer in stack.layers:
            statistics.input_squares(layer.feed_forward.down, stack.name)
            for attention in layer.attentions:
                head_widths[attention.output] = stack.heads.width
                statistics.head_moments(attention.output, stack.name, stack.heads.width)
        for norm in readers.keys() & set(stack.norms):
            statistics.output_squares(norm, stack.name)
    statistics.run(calibration, context)

    def reading(norm: str) -> torch.Tensor:
        weights: torch.Tensor = torch.cat([weight_of(model, name) for name in readers[norm]]).norm(dim=0)
        return statistics.mean(norm).sqrt() * weights

    downs = [layer.feed_forward.down for layer in architecture.layers]
    return Importance(
        {name: (statistics.mean(name).sqrt() * weight_of(model, name).float().norm(dim=0)).cpu() for name in downs},
        {
            name: _head_scores(statistics.mean(name), weight_of(model, name).float(), width).cpu()
            for name, width in head_widths.items()
        },
        residual_scores({norm: reading(norm) for norm in readers}),
    )


def _head_scores(moments: torch.Tensor, output: torch.Tensor, head_width: int) -> torch.Tensor:
    """Returns sqrt(E ||W_h x_h||²) = sqrt(trace(W_h E[x_h x_hᵀ] W_hᵀ)) for each head.

    Args:
        moments: second moments of the heads' outputs, `(heads, head_width, head_width)`.
        output: the output projection, `(width, heads * head_width)`.
        head_width: values a head.
    """
    slices = output.reshape(output.shape[0], -1, head_width)
    return torch.einsum("whi,hij,whj->h", slices, moments, slices).clamp(min=0).sqrt()
