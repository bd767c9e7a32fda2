"""Several processes that train one model together, over Hugging Face Accelerate: gradients are averaged each step.

Each process takes every n-th batch, so that a step of n processes is a step of one that accumulates n batches. They are
started by `accelerate launch` or `torchrun`. Only the main one writes; the others end with the training.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters

if TYPE_CHECKING:
    from accelerate import PartialState

# Other processes wait while the main process generates teacher outputs, which takes hours.
TIMEOUT = timedelta(days=2)


class Processes:
    """The processes of one run, or the only one.

    Args:
        state: of Accelerate; None for a single process.
    """

    # Processes that ended cannot train again.
    _are_over = False

    def __init__(self, state: "PartialState | None" = None) -> None:
        self._state = state if state is not None and state.num_processes > 1 else None

    @classmethod
    def launched(cls, device: str) -> "Processes":
        """Returns the processes that a launcher started, or this one only.

        Args:
            device: `cpu` uses gloo, `cuda` NCCL.

        Raises:
            BadParameters: the other processes have ended, with an earlier training of the same launch.
        """
        from accelerate import PartialState

        if cls._are_over:
            raise BadParameters("only one training of a launch can be distributed; launch each by itself")
        return cls(PartialState(cpu=device == "cpu", timeout=TIMEOUT))

    @property
    def count(self) -> int:
        """Number of processes."""
        return self._state.num_processes if self._state else 1

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self._state.process_index if self._state else 0

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def context(self, context: Context) -> Context:
        """Returns the context of this process: with its own device, and without output if it is not the main one."""
        if self._state is None:
            return context
        device = str(self._state.device) if context.device == "cuda" else context.device
        return replace(context, device=device, console=context.console if self.is_main else Console(quiet=True))

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces gradients by their mean over processes, in one reduction."""
        if self._state is None:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self._reduced(torch.cat([gradient.reshape(-1) for gradient in gradients]), "mean")
        for gradient, mean in zip(gradients, torch.split(flat, [each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the means of values over processes; the names are the same in each."""
        return self._together(values, "mean")

    def most(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the largest of each value over processes; the names are the same in each."""
        return self._together(values, "max")

    def wait(self) -> None:
        """Waits for all processes."""
        if self._state is not None:
            self._state.wait_for_everyone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Runs the block in the main process first; then the others find its results."""
        if self._state is None:
            yield
            return
        with self._state.main_process_first():
            yield

    def part(self) -> None:
        """Ends all processes but the main one, which continues.

        Raises:
            SystemExit: with code 0, in every process but the main one.
        """
        if self._state is None:
            return
        self.wait()
        self._state.destroy_process_group()
        self._state = None if self.is_main else self._state
        Processes._are_over = True
        if self._state is not None:
            raise SystemExit(0)

    def _together(self, values: Mapping[str, float], reduction: str) -> dict[str, float]:
        if self._state is None:
            return dict(values)
        together = self._reduced(torch.tensor(list(values.values()), dtype=torch.float64), reduction)
        return dict(zip(values, together.tolist(), strict=True))

    def _reduced(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        from accelerate.utils import reduce

        assert self._state is not None
        reduced: torch.Tensor = reduce(tensor.to(self._state.device), reduction)
        return reduced
