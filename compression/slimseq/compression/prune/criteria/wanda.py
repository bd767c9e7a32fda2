"""Importance by weight and activation together: Wanda, summed over structures."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.anatomy import anatomy_of
from slimseq.compression.context import Context
from slimseq.compression.prune.criteria.protocol import Importance, residual_readers, residual_scores, weight_of
from slimseq.compression.prune.criteria.watch import Watch
from slimseq.compression.training.data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def wanda(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Scores parts by what flows through them times the weights that take it up.

    Feed-forward channels: root mean square of what the channel sends into the down projection, times the L2 norm of
    its column there (Wanda's |weight| · ||input||, summed over a structure; Sun et al. 2023,
    https://arxiv.org/abs/2306.11695). Heads: root mean square over positions of the L2 norm of what the head adds to
    the residual stream, exactly, from the second moments of its output. Residual channels (BART): root mean square at
    each layer norm's output times the L2 norm of the weights that read it there; every layer norm counts the same.

    Args:
        model: a T5 or BART, in evaluation mode on `context.device`; left as it is.
        calibration: all pairs are run. Padding is left out.
        context: device and progress.
    """
    anatomy = anatomy_of(model)
    watch = Watch(model)
    for stack in anatomy.stacks:
        for layer in stack.layers:
            watch.input_squares(layer.feed_forward.down, stack.name)
            for attention in layer.attentions:
                watch.head_moments(attention.output, stack.name, anatomy.head_dim)
    readers = residual_readers(anatomy)
    for norm in readers:
        watch.output_squares(norm, "encoder" if ".encoder." in norm else "decoder")
    watch.run(calibration, context)

    def reading(norm: str) -> torch.Tensor:
        weights: torch.Tensor = torch.cat([weight_of(model, name) for name in readers[norm]]).norm(dim=0)
        return watch.mean(norm).sqrt() * weights

    layers = [layer for stack in anatomy.stacks for layer in stack.layers]
    downs = [layer.feed_forward.down for layer in layers]
    outputs = [attention.output for layer in layers for attention in layer.attentions]
    return Importance(
        {name: (watch.mean(name).sqrt() * weight_of(model, name).float().norm(dim=0)).cpu() for name in downs},
        {
            name: _head_scores(watch.mean(name), weight_of(model, name).float(), anatomy.head_dim).cpu()
            for name in outputs
        },
        residual_scores({norm: reading(norm) for norm in readers}),
    )


def _head_scores(moments: torch.Tensor, output: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Returns sqrt(E ||W_h x_h||²) = sqrt(trace(W_h E[x_h x_hᵀ] W_hᵀ)) for each head.

    Args:
        moments: second moments of the heads' outputs, `(heads, head_dim, head_dim)`.
        output: the output projection, `(width, heads * head_dim)`.
        head_dim: values a head.
    """
    slices = output.reshape(output.shape[0], -1, head_dim)
    return torch.einsum("whi,hij,whj->h", slices, moments, slices).clamp(min=0).sqrt()
