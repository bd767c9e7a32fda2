"""The protocols of a runtime and its engine: a runtime turns rows of input ids into rows of output ids.

Runtimes know no text, tasks or HTTP. A new one is one file in `runtimes/` and one entry in `runtimes/registry.py`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from slimseq.models_store.generation import GenerationOptions

FinishReason = Literal["eos", "length", "stop", "cancelled"]


@dataclass(frozen=True)
class GeneratedSequence:
    """One generated row: ids without the decoder's start token, with the end token if it was generated.

    `mean_log_probability` is the mean over `ids` of the natural logarithm of the probability that the model gives each
    token after the tokens before it: the softmax of its logits, before temperature, penalties and forbidden tokens, and
    without length penalty. A forced token counts as certain. None for no ids, and where the runtime cannot say. Two
    sequences are equal without it, since its last digits depend on the runtime. `alternatives` are the next best, best
    first, up to `num_return_sequences` in all; `log_probabilities` those of each of `ids`, where the options force
    them; `steps` the runs of the decoder, where a search may take several tokens in one, else 0.
    """

    ids: list[int]
    finish_reason: FinishReason
    mean_log_probability: float | None = field(default=None, compare=False)
    alternatives: "tuple[GeneratedSequence, ...]" = ()
    log_probabilities: Sequence[float] = field(default=(), compare=False, repr=False)
    steps: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class GenerationCallbacks:
    """Callbacks of a running generation, called on the generating thread.

    `on_token` receives `(row, token id)` as soon as a token is final: at its step with greedy search; with beam search
    once all hypotheses share it, or at the end of the row by a runtime that does not show them. `is_cancelled` is
    called before each step, or only before the first by a runtime that cannot be interrupted. True ends every row.
    """

    on_token: Callable[[int, int], None] | None = None
    is_cancelled: Callable[[], bool] | None = None


class Runtime(Protocol):
    """Generates token ids with one artifact. As many threads as it was opened for may use it at a time."""

    name: str

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row, in order.

        Rows are input ids, unpadded, special tokens included, each at most as long as the model's positions.
        """

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> Iterable[Sequence[float]]:
        """Yields the log-probabilities of the tokens of outputs, which have no start token, in forced passes.

        A runtime without an engine runs the pass of each row when it is asked for it, so that callers may stop.
        """

    def close(self) -> None:
        """Frees the runtime's memory. It cannot be used afterwards."""


@dataclass
class RowProgress:
    """The progress of one input in a step: tokens that are now final, and the whole output once it has ended."""

    tokens: list[int] = field(default_factory=list)
    ended: GeneratedSequence | None = None


class Engine(Protocol):
    """The inputs in flight, which join and leave between steps. One thread at a time may use it."""

    def __len__(self) -> int:
        """Unfinished inputs, waiting ones included."""

    @property
    def waiting(self) -> int:
        """Inputs whose encoder has not begun to run."""

    def add(self, ids: Sequence[int], options: GenerationOptions, *, is_streamed: bool = False) -> int:
        """Adds an input's ids, unpadded, special tokens included, and returns its key.

        Of a streamed one, `step` reports tokens as soon as they are final; of others it may wait for the end.
        """

    def admit(self, tokens: int = ...) -> None:
        """Runs the encoder for waiting inputs in order of arrival, up to a number of tokens, but for at least one.

        For long ones it may run beside the steps that follow.
        """

    def step(self) -> dict[int, RowProgress]:
        """Runs one decoder step for all inputs whose encoder has run; returns their progress by key."""

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Removes unfinished inputs; returns their output so far, with finish reason `cancelled`."""


@runtime_checkable
class ContinuousRuntime(Protocol):
    """A runtime with continuous batching."""

    def engine(self) -> Engine:
        """Returns an engine without inputs. Several engines share the model's weights."""


class RuntimeOpener(Protocol):
    """The function of a runtime's module that opens an artifact."""

    def __call__(self, folder: Path, *, threads: int = 0, workers: int = 1) -> Runtime:
        """Opens an artifact's folder for `workers` generations at a time; with 0 threads of each, the runtime chooses.

        Raises:
            RuntimeUnavailable: the library is not installed.
            InvalidArtifact: the files cannot be loaded.
        """
