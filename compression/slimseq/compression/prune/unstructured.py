"""Sets single weights of the stacks' linear layers to zero and keeps them there while the model recovers.

Zeros take no room where files are compressed; dense kernels, which all runtimes here use, gain no time from them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.prune.activation_statistics import ActivationStatistics
from slimseq.compression.prune.importance import weight_of
from slimseq.compression.prune.options import check_sparsity, group_of
from slimseq.compression.training.data.pairs import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def sparsity_masks(
    model: "PreTrainedModel",
    calibration: TrainingSet,
    context: Context,
    criterion: Literal["wanda", "magnitude"],
    sparsity: float,
    pattern: str,
) -> dict[str, torch.Tensor]:
    """Chooses which weights stay, in each output row by itself.

    The score of a weight is its absolute value (magnitude), or that times the L2 norm of its input (Wanda, Sun et al.
    2023, https://arxiv.org/abs/2306.11695). Embeddings and the output layer stay dense.

    Args:
        model: of any family, in evaluation mode on `context.device`; left as it is.
        calibration: run once for Wanda; not looked at for magnitude.
        context: device and progress.
        criterion: see above.
        sparsity: share of every row to remove; not looked at where there is a pattern.
        pattern: `N:M` keeps at most N of every M neighbours (Mishra et al. 2021, https://arxiv.org/abs/2104.08378);
            empty for none.

    Returns:
        By name of the parameter, where weights stay: `(out, in)`, bool, on the context's device.

    Raises:
        BadParameters: as `check_sparsity` does, or a row cannot be cut into groups of M.
    """
    check_sparsity(criterion, sparsity, pattern)
    statistics = ActivationStatistics(model)
    names = []
    for stack in architecture_of_model(model).stacks:
        for layer in stack.layers:
            # Keys and values of cross-attention read what the encoder made, and its padding.
            of_encoder = (
                () if layer.cross_attention is None else (layer.cross_attention.key, layer.cross_attention.value)
            )
            for name in layer.projections:
                names.append(name)
                statistics.input_squares(name, "encoder" if name in of_encoder else stack.name)
    if criterion == "wanda":
        statistics.run(calibration, context)
    masks: dict[str, torch.Tensor] = {}
    for name in names:
        scores = weight_of(model, name).float().abs()
        if criterion == "wanda":
            scores = scores * statistics.mean(name).sqrt()
        masks[f"{name}.weight"] = _pattern_mask(name, scores, pattern) if pattern else _row_mask(scores, sparsity)
    return masks


@contextmanager
def held_sparse(model: "PreTrainedModel", masks: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Sets the weights outside of masks to zero, and keeps training from changing them for the block.

    Their gradients are zeroed, and AdamW leaves a zero weight whose gradients have all been zero at exactly zero: its
    moments stay zero, and decay multiplies. That holds after a resumption too, since checkpoints hold the zeros.

    Args:
        model: changed in place.
        masks: by name of the parameter, where weights stay; on the model's device.
    """
    handles = []
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        with torch.no_grad():
            parameter.mul_(mask)
        hook: Callable[[torch.Tensor], torch.Tensor] = mask.mul
        handles.append(parameter.register_hook(hook))  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _row_mask(scores: torch.Tensor, sparsity: float) -> torch.Tensor:
    removed = round(scores.shape[1] * sparsity)
    lowest = scores.argsort(dim=1, stable=True)[:, :removed]
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, lowest, False)


def _pattern_mask(name: str, scores: torch.Tensor, pattern: str) -> torch.Tensor:
    keep, group = group_of(pattern)
    if scores.shape[1] % group:
        raise BadParameters(f"--pattern {pattern} does not fit {name}, whose rows have {scores.shape[1]} weights")
    grouped = scores.reshape(scores.shape[0], -1, group)
    lowest = grouped.argsort(dim=2, stable=True)[:, :, : group - keep]
    return torch.ones_like(grouped, dtype=torch.bool).scatter_(2, lowest, False).reshape(scores.shape)
