"""Statistics of activations at chosen modules while calibration data runs: sums of squares, padding left out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.prune.importance import CALIBRATION_TOKENS
from slimseq.compression.train.data.batches import IGNORED_LABEL, one_pass
from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.forward import logits_of, pad_id_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ActivationStatistics:
    """Sums of squares at chosen modules, over the positions that are not padding.

    Args:
        model: of any family, in evaluation mode; nothing of it is changed.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        self._masks: dict[str, torch.Tensor] = {}
        self._model = model
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._hooks: list[Callable[[], torch.utils.hooks.RemovableHandle]] = []

    def input_squares(self, name: str, stack: str) -> None:
        """Collects the squares of a module's input, by channel; `stack` says whose positions they are."""
        self._before(name, stack, lambda values: values.square().sum(0))

    def head_moments(self, name: str, stack: str, head_width: int) -> None:
        """Collects the second moments of each head's slice of a module's input."""

        def moments(values: torch.Tensor) -> torch.Tensor:
            heads = values.reshape(len(values), -1, head_width)
            return torch.einsum("nhi,nhj->hij", heads, heads)

        self._before(name, stack, moments)

    def output_squares(self, name: str, stack: str) -> None:
        """Collects the squares of a module's output, by channel."""
        module = self._model.get_submodule(name)

        def hook(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            self._add(name, output, stack, lambda values: values.square().sum(0))

        self._hooks.append(lambda: module.register_forward_hook(hook))

    def run(self, calibration: TrainingSet, context: Context) -> None:
        """Runs all pairs through the model with teacher forcing."""
        pad_id = pad_id_of(self._model)
        with self._attached(), torch.inference_mode(), context.progress() as display:
            task = display.add_task("Measuring importance", total=len(calibration), status="")
            for batch in one_pass(calibration, CALIBRATION_TOKENS, pad_id):
                on_device = batch.to(context.device)
                self._masks = {
                    "encoder": on_device.attention_mask.bool(),
                    "decoder": on_device.labels != IGNORED_LABEL,
                }
                logits_of(self._model, on_device)
                display.advance(task, batch.rows)

    def mean(self, name: str) -> torch.Tensor:
        """Returns what was summed at a module, divided by the positions seen."""
        return self._sums[name] / self._counts[name]

    @contextmanager
    def _attached(self) -> Iterator[None]:
        handles = [register() for register in self._hooks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str, stack: str, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        module = self._model.get_submodule(name)

        def hook(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            self._add(name, inputs[0], stack, reduce)

        self._hooks.append(lambda: module.register_forward_pre_hook(hook))

    def _add(self, name: str, values: torch.Tensor, stack: str, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        mask = self._masks[stack]
        found = values.reshape(*mask.shape, -1)[mask].float()
        total = reduce(found)
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + found.shape[0]
