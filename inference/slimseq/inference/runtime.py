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

    Attributes:
        ids: the generated ids.
        finish_reason: why the row ended.
        mean_log_probability: the mean over `ids` of the natural logarithm of the probability that the model gives each
            token after the tokens before it. That is the softmax of its logits, before temperature, penalties and
            forbidden tokens, and without length penalty. A forced token counts as certain. None for no ids, and where
            the runtime cannot say. It does not count when sequences are compared: its last digits depend on the
            runtime.
        alternatives: the next best sequences, best first, up to `num_return_sequences` in all.
        log_probabilities: one for each of `ids`, if the options force the ids.
        steps: the runs of the decoder, where a search may take several tokens in one run; else 0.
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

    Attributes:
        on_token: receives `(row, token id)` as soon as a token is final. With greedy search that is at its step; with
            beam search once all hypotheses share it, or at the end of the row if the runtime does not show hypotheses.
        is_cancelled: is called before each step, or only before the first by a runtime that cannot be interrupted. If
            it returns True, every row ends.
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
        """Yields, for each row, the log-probabilities of the tokens of its given output, in a forced pass.

        Outputs have no start token. A runtime without an engine runs the pass of a row only when the caller asks for
        its values, so that callers may stop.
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

        `step` reports the tokens of a streamed input as soon as they are final, those of others perhaps at their end.
        """

    def admit(self, tokens: int = ...) -> None:
        """Runs the encoder for waiting inputs in order of arrival: for at least one, and up to a number of tokens.

        For long inputs it may run in parallel to the steps that follow.
        """

    def step(self) -> dict[int, RowProgress]:
        """Runs one decoder step for all inputs whose encoder has run; returns their progress by key."""

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Removes unfinished inputs; returns their output so far, with finish reason `cancelled`."""

    def trim(self) -> None:
        """Gives back memory that is kept for the next inputs. For an engine without inputs that has nothing to do."""


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
