"""A translator in this process that translates texts as the service does: with protected facts, and documents."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import BenchmarkFailed
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.text.plan import Prompt, plan, run_all
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BATCH_ROWS = 16
MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Translator:
    generator: TextGenerator

    def translate(self, texts: Sequence[str], **prompt: Any) -> tuple[list[TextOutput], int]:
        """Returns the outputs of texts, and the number of sentences that needed further passes."""
        planned = plan(self.generator, Prompt(list(texts), **prompt), MAX_ROWS)

        passes = run_all(self.generator, planned, BATCH_ROWS)
        return planned.assemble(passes.in_order), passes.repaired


@contextmanager
def open_translator(store: Path, variant: str) -> Iterator[Translator]:
    """Opens a variant that translates from English to German, on one thread, until the block ends."""
    artifacts = Store(store)
    if artifacts.manifest(Task.TRANSLATION, variant).languages != ["en", "de"]:
        raise BenchmarkFailed(f"translation/{variant} does not translate from English to German")
    with open_generator(artifacts, Task.TRANSLATION, variant, threads=1) as generator:
        yield Translator(generator)
