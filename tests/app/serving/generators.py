"""Generators that tests can hold, break and look into, instead of a model."""

import threading
from collections.abc import Collection, Sequence

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks, RowProgress
from slimseq.inference.tokenizer import Encoding, TextStream
from slimseq.models_store.generation import GenerationOptions


def rows(*lengths: int) -> list[Encoding]:
    """Rows that are told apart by their lengths. None are equal."""
    return [Encoding([row] * length, length) for row, length in enumerate(lengths)]


class EchoGenerator(TextGenerator):
    """Answers each row with its length, once `gate` is open; keeps the lengths of every batch."""

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
    """Writes each row's length as often as it is long, a token a step; keeps which lengths shared each step.

    With a closed `gate` a step waits for one of `permits`.
    """

    def __init__(self, generator: "SteppingGenerator") -> None:
        self._generator = generator
        self._waiting: dict[int, Sequence[int]] = {}
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

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        self._generator.dropped += len(list(keys))
        for key in keys:
            self._waiting.pop(key, None)
            self._rows.pop(key, None)
            self._left.pop(key, None)
        return {}


class SteppingGenerator(TextGenerator):
    """A generator with engines, whose steps tests can hold, break and look into."""

    def __init__(self, is_open: bool = True) -> None:
        self.is_open = is_open
        self.permits = threading.Semaphore(0)
        self.has_stepped = threading.Event()
        self.steps: list[list[int]] = []
        self.error: BaseException | None = None
        # A step with a row of this length breaks, once so many steps have begun.
        self.bad_length: int | None = None
        self.bad_from = 0
        self.added: list[tuple[int, GenerationOptions]] = []
        self.keys = 0
        self.dropped = 0
        self.engines = 0

    def engine(self) -> EchoEngine:
        self.engines += 1
        return EchoEngine(self)

    def stream(self) -> TextStream:
        raise NotImplementedError

    def output(self, encoding: Encoding, sequence: GeneratedSequence) -> TextOutput:
        return TextOutput(str(len(sequence.ids)), sequence.finish_reason, len(encoding.ids), len(sequence.ids), False)

    def open(self) -> None:
        """Holds no step any more."""
        self.is_open = True
        self.permits.release(1000)
