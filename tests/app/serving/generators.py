"""Generators in place of a model: tests can make them wait, break them, and see what they ran.

`EchoGenerator` is for static batching, `SteppingGenerator` for continuous batching. The text of a row is its length.
"""

import threading
from collections.abc import Collection, Sequence

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks, RowProgress
from slimseq.inference.tokenizer import Encoding, TextStream
from slimseq.models_store.generation import GenerationOptions


def rows(*lengths: int) -> list[Encoding]:
    """Returns a row of each length, in which each token is the row's index. So no two rows are equal."""
    return [Encoding([row] * length, length) for row, length in enumerate(lengths)]


class EchoGenerator(TextGenerator):
    """Answers each row with its length, once `gate` is open. `batches` has the lengths of the rows of each batch."""

    def __init__(self, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.has_started = threading.Event()
        self.error: BaseException | None = None
        # A batch with a row of this length breaks.
        self.bad_length: int | None = None
        self.was_cancelled = False
        if is_open:
            self.gate.set()

    def generate(
        self, inputs: Sequence[Encoding], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[TextOutput]:
        self.batches.append([len(encoding.ids) for encoding in inputs])
        self.has_started.set()
        while not self.gate.wait(0.005):
            if callbacks and callbacks.is_cancelled and callbacks.is_cancelled():
                self.was_cancelled = True
                return [TextOutput("", "cancelled", 0, 0, False) for _ in inputs]
        if self.error:
            raise self.error
        if callbacks and callbacks.on_token:
            for row, encoding in enumerate(inputs):
                callbacks.on_token(row, len(encoding.ids))
        if self.bad_length in self.batches[-1]:
            raise ValueError("a bad row")
        return [TextOutput(str(len(each.ids)), "eos", len(each.ids), 1, each.is_truncated) for each in inputs]


class EchoEngine:
    """Generates one token a row in each step, until a row has as many tokens as its input. Each token is this length.

    Unless the generator is open, a step waits for one of its `permits`.
    """

    def __init__(self, generator: "SteppingGenerator") -> None:
        self._generator = generator
        self._waiting: dict[int, Sequence[int]] = {}
        # By key: the tokens so far, and the number of tokens to come.
        self._rows: dict[int, list[int]] = {}
        self._left: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._rows)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, ids: Sequence[int], options: GenerationOptions, *, is_streamed: bool = False) -> int:
        self._generator.added.append((len(ids), options))
        self._generator.keys += 1
        self._waiting[self._generator.keys] = ids
        return self._generator.keys

    def admit(self, tokens: int = 1024) -> None:
        for key, ids in self._waiting.items():
            self._rows[key] = []
            self._left[key] = len(ids)
        self._waiting.clear()

    def step(self) -> dict[int, RowProgress]:
        generator = self._generator
        if self._rows:
            generator.steps.append(sorted(self._left[key] + len(self._rows[key]) for key in self._rows))
            generator.has_stepped.set()
            if not generator.is_open:
                generator.permits.acquire()
        if generator.error:
            raise generator.error
        if self._rows and generator.bad_length in generator.steps[-1] and len(generator.steps) >= generator.bad_from:
            raise ValueError("a bad row")
        progress: dict[int, RowProgress] = {}
        for key, ids in list(self._rows.items()):
            length = self._left[key] + len(ids)
            ids.append(length)
            self._left[key] -= 1
            progress[key] = RowProgress([length])
            if not self._left[key]:
                progress[key].ended = GeneratedSequence(ids, "eos")
                del self._rows[key], self._left[key]
        return progress

    def trim(self) -> None:
        self._generator.trims += 1
        if self._generator.trim_error:
            raise self._generator.trim_error

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        self._generator.dropped += len(list(keys))
        for key in keys:
            self._waiting.pop(key, None)
            self._rows.pop(key, None)
            self._left.pop(key, None)
        return {}


class SteppingGenerator(TextGenerator):
    """A generator with engines, whose steps tests can make wait, break, and look into.

    Attributes:
        is_open: whether steps run without a permit.
        steps: for each step, the sorted lengths of its rows.
        error: raised by every step.
        bad_length: a step with a row of this length fails, once `bad_from` steps have begun.
        added: lengths and options of the rows that engines got.
        keys: the last key of a row.
        dropped: number of rows that were dropped.
        trims: number of trims of an engine.
        trim_error: raised by every trim.
        engines: number of engines that were made.
    """

    def __init__(self, is_open: bool = True) -> None:
        self.is_open = is_open
        self.permits = threading.Semaphore(0)
        self.has_stepped = threading.Event()
        self.steps: list[list[int]] = []
        self.error: BaseException | None = None
        self.bad_length: int | None = None
        self.bad_from = 0
        self.added: list[tuple[int, GenerationOptions]] = []
        self.keys = 0
        self.dropped = 0
        self.trims = 0
        self.trim_error: BaseException | None = None
        self.engines = 0

    def engine(self) -> EchoEngine:
        self.engines += 1
        return EchoEngine(self)

    def stream(self) -> TextStream:
        raise NotImplementedError

    def output(self, encoding: Encoding, sequence: GeneratedSequence) -> TextOutput:
        return TextOutput(str(len(sequence.ids)), sequence.finish_reason, len(encoding.ids), len(sequence.ids), False)

    def open(self) -> None:
        """Lets all steps run without a permit."""
        self.is_open = True
        self.permits.release(1000)
