"""How much each part of a model matters, measured on calibration data that runs through it with teacher forcing.

Nothing is changed: forward hooks watch what goes into the projections. Pruning ranks by what stands here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from compression.anatomy import Anatomy, Attention, anatomy_of
from compression.context import Context
from compression.training.batches import IGNORED_LABEL, one_pass
from compression.training.data import TrainingSet
from compression.training.forward import logits_of, pad_id_of
from models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION_TOKENS = 4096


@dataclass(frozen=True)
class Importance:
    """Scores by the name of the part, float32 on the CPU; higher matters more.

    `channels[down projection]` is `(feed_forward,)`, `heads[output projection]` is `(heads,)`, and `residual` is
    `(width,)`, or None where the family's width is never cut (T5).
    """

    channels: dict[str, torch.Tensor]
    heads: dict[str, torch.Tensor]
    residual: torch.Tensor | None


def measure_importance(model: "PreTrainedModel", calibration: TrainingSet, context: Context) -> Importance:
    """Runs calibration data through a model and scores its parts.

    Feed-forward channels: root mean square of what the channel sends into the down projection, times the L2 norm of
    its column there (Wanda's |weight| · ||input||, summed over a structure; Sun et al. 2023,
    https://arxiv.org/abs/2306.11695). Heads: root mean square over positions of the L2 norm of what the head adds to
    the residual stream, exactly, from the second moments of its output. Residual channels (BART): root mean square at
    each layer norm's output times the L2 norm of the weights that read it there; every layer norm counts the same.

    Args:
        model: a T5 or BART on any device; comes back on `context.device`, in evaluation mode.
        calibration: a few hundred pairs; all are run. Padding is left out.
        context: device and progress.

    Returns:
        The scores.
    """
    anatomy = anatomy_of(model)
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    watch = _Watch(model)
    for stack in anatomy.stacks:
        for layer in stack.layers:
            watch.input_squares(layer.feed_forward.down, stack.name)
            for attention in (layer.self_attention, layer.cross_attention):
                if attention is not None:
                    watch.head_moments(attention.output, stack.name, anatomy.head_dim)
    readers = _residual_readers(anatomy) if anatomy.family is Family.BART else {}
    for norm in readers:
        watch.output_squares(norm, "encoder" if ".encoder." in norm else "decoder")

    with watch.attached(), torch.inference_mode(), context.progress() as display:
        task = display.add_task("Measuring importance", total=len(calibration), status="")
        for batch in one_pass(calibration, CALIBRATION_TOKENS, pad_id_of(model)):
            on_device = batch.to(context.device)
            watch.masks = {"encoder": on_device.attention_mask.bool(), "decoder": on_device.labels != IGNORED_LABEL}
            logits_of(model, on_device)
            display.advance(task, batch.rows)

    def weight(name: str) -> torch.Tensor:
        return model.get_parameter(f"{name}.weight").detach().float()

    channels = {
        layer.feed_forward.down: (
            watch.mean(layer.feed_forward.down).sqrt() * weight(layer.feed_forward.down).norm(dim=0)
        )
        for stack in anatomy.stacks
        for layer in stack.layers
    }
    heads = {
        attention.output: _head_scores(watch.mean(attention.output), weight(attention.output), anatomy.head_dim)
        for stack in anatomy.stacks
        for layer in stack.layers
        for attention in (layer.self_attention, layer.cross_attention)
        if attention is not None
    }
    residual: torch.Tensor | None = None
    for norm, names in readers.items():
        score = watch.mean(norm).sqrt() * torch.cat([weight(name) for name in names]).norm(dim=0)
        share = (score / score.mean()).cpu()
        residual = share if residual is None else residual + share
    return Importance(
        {name: score.cpu() for name, score in channels.items()},
        {name: score.cpu() for name, score in heads.items()},
        residual,
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


def _residual_readers(anatomy: Anatomy) -> dict[str, list[str]]:
    """Returns, for each layer norm of a BART, the projections that read its output."""

    def projections(attention: Attention) -> list[str]:
        return [attention.query, attention.key, attention.value]

    readers: dict[str, list[str]] = {}
    for stack in anatomy.stacks:
        norm = f"model.{stack.name}.layernorm_embedding"
        for layer in stack.layers:
            readers[norm] = projections(layer.self_attention)
            norm = f"{layer.name}.self_attn_layer_norm"
            if layer.cross_attention is not None:
                readers[norm] = [layer.cross_attention.query]
                norm = f"{layer.name}.encoder_attn_layer_norm"
            readers[norm] = list(layer.feed_forward.up)
            norm = f"{layer.name}.final_layer_norm"
        readers[norm] = ["lm_head"] if stack.name == "decoder" else []
        if stack.name == "encoder":
            for layer in anatomy.decoder.layers:
                assert layer.cross_attention is not None
                readers[norm] += [layer.cross_attention.key, layer.cross_attention.value]
    return readers


class _Watch:
    """Sums of squares at chosen modules, over the positions that are not padding."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.masks: dict[str, torch.Tensor] = {}
        self._model = model
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._hooks: list[Callable[[], torch.utils.hooks.RemovableHandle]] = []

    def input_squares(self, name: str, stack: str) -> None:
        """Watches the squares of a module's input, by channel."""
        self._before(name, stack, lambda values: values.square().sum(0))

    def head_moments(self, name: str, stack: str, head_dim: int) -> None:
        """Watches the second moments of each head's slice of a module's input."""

        def moments(values: torch.Tensor) -> torch.Tensor:
            heads = values.reshape(len(values), -1, head_dim)
            return torch.einsum("nhi,nhj->hij", heads, heads)

        self._before(name, stack, moments)

    def output_squares(self, name: str, stack: str) -> None:
        """Watches the squares of a module's output, by channel."""
        module = self._model.get_submodule(name)

        def hook(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            self._add(name, output, stack, lambda values: values.square().sum(0))

        self._hooks.append(lambda: module.register_forward_hook(hook))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keeps the hooks in place for the block."""
        handles = [register() for register in self._hooks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def mean(self, name: str) -> torch.Tensor:
        """Returns what was summed at a module, divided by the positions seen."""
        return self._sums[name] / self._counts[name]

    def _before(self, name: str, stack: str, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        module = self._model.get_submodule(name)

        def hook(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            self._add(name, inputs[0], stack, reduce)

        self._hooks.append(lambda: module.register_forward_pre_hook(hook))

    def _add(self, name: str, values: torch.Tensor, stack: str, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        mask = self.masks[stack]
        found = values.reshape(*mask.shape, -1)[mask].float()
        total = reduce(found)
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + found.shape[0]
