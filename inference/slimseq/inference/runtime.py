"""What a runtime is: something that turns rows of input ids into rows of output ids.

Runtimes know nothing of text, tasks or HTTP. A new one is one file here and one line in `registry.py`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from slimseq.models_store.manifest import GenerationOptions

FinishReason = Literal["eos", "length", "stop", "cancelled"]


@dataclass(frozen=True)
class GeneratedSequence:
    """One generated row: ids without the decoder's start token, with the end token where it came."""

    ids: list[int]
    finish_reason: FinishReason


@dataclass(frozen=True)
class GenerationCallbacks:
    """How a caller follows a generation while it runs. Both are called on the generating thread.

    Args:
        on_token: told `(row, token id)` as soon as a token is final. Greedy search tells each token at its step;
            beam search tells all tokens of a row once the row is decided.
        is_cancelled: asked before each step, or only before the first by a runtime that cannot be interrupted; True
            ends every row with finish reason `cancelled`.
    """

    on_token: Callable[[int, int], None] | None = None
    is_cancelled: Callable[[], bool] | None = None


class Runtime(Protocol):
    """Generates token ids with one artifact, for as many threads at a time as it was opened for."""

    name: str

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row.

        Args:
            rows: input ids, unpadded, specials included, each at most the model's positions long.
            options: pinned settings, the same for every row.
            watch: callbacks while it runs.

        Returns:
            One `GeneratedSequence` a row, in order.
        """

    def close(self) -> None:
        """Gives back what the runtime holds. It cannot be used afterwards."""


@dataclass
class Progress:
    """What a step brought an input: tokens that are final, and its whole output once it has ended."""

    tokens: list[int] = field(default_factory=list)
    ended: GeneratedSequence | None = None


class Engine(Protocol):
    """Inputs in flight, which join and leave between steps. It is used by one thread at a time."""

    def __len__(self) -> int:
        """How many inputs have not ended, those that wait among them."""

    @property
    def waiting(self) -> int:
        """How many inputs have been added whose encoder has not run."""

    def add(self, ids: Sequence[int], options: GenerationOptions) -> int:
        """Adds an input, unpadded, specials included; returns its key."""

    def admit(self, tokens: int = ...) -> None:
        """Runs the encoder for those that have waited longest: as many as have so many tokens, but at least one."""

    def step(self) -> dict[int, Progress]:
        """Runs one decoder step for all inputs whose encoder has run; returns what it brought, by key."""

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Takes inputs out before they have ended; returns what each has come to, with reason `cancelled`."""


@runtime_checkable
class ContinuousRuntime(Protocol):
    """A runtime whose inputs need not begin and end together."""

    def engine(self) -> Engine:
        """Returns an engine with nothing in flight; several share the model's weights."""


class RuntimeOpener(Protocol):
    """Opens the runtime's format in an artifact's folder."""

    def __call__(self, folder: Path, *, threads: int = 0, workers: int = 1) -> Runtime:
        """Opens the model.

        Args:
            folder: the artifact's folder.
            threads: of one generation; 0 lets the runtime choose.
            workers: generations that may run at a time.

        Raises:
            RuntimeUnavailable: the library or the format is not there.
        """
