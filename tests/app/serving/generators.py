"""Generators that tests can hold, break and look into, instead of a model."""

import threading
from collections.abc import Sequence

from models_store.generator import TextOutput
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Watch
from models_store.tokenizer import Encoding


def rows(*lengths: int) -> list[Encoding]:
    """Rows that are told apart by their lengths."""
    return [Encoding([1] * length, length) for length in lengths]


class EchoGenerator:
    """Answers each row with its length, once `gate` is open; keeps the lengths of every batch."""

    def __init__(self, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.has_started = threading.Event()
        self.error: Exception | None = None
        self.was_cancelled = False
        if is_open:
            self.gate.set()

    def generate(
        self, inputs: Sequence[Encoding], options: GenerationOptions, watch: Watch | None = None
    ) -> list[TextOutput]:
        self.batches.append([len(encoding.ids) for encoding in inputs])
        self.has_started.set()
        while not self.gate.wait(0.005):
            if watch and watch.is_cancelled and watch.is_cancelled():
                self.was_cancelled = True
                return [TextOutput("", "cancelled", 0, 0, False) for _ in inputs]
        if self.error:
            raise self.error
        if watch and watch.on_token:
            for row, encoding in enumerate(inputs):
                watch.on_token(row, len(encoding.ids))
        return [TextOutput(str(len(each.ids)), "eos", len(each.ids), 1, each.is_truncated) for each in inputs]
