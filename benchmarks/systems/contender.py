"""What `benchmarks.peers` measures: a model, and a system in a process of its own that generates with it."""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from benchmarks.command import MILLISECONDS, BenchmarkFailed, Record
from benchmarks.shapes import SHAPES, VARIANT, inputs_of, make_shape
from benchmarks.systems.child import Child
from benchmarks.systems.peer_systems import generate
from benchmarks.systems.place import Place
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.fastest import Layout
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import DERIVED_FORMATS, Task
from slimseq.models_store.store import Store

# Output tokens of the untimed generation before each setting.
WARMUP_TOKENS = 4
# Tokens of every output of a variant, where the command does not say.
NEW_TOKENS = 64


@dataclass(frozen=True)
class Model:
    """A model and what it is measured with.

    `rows` are the inputs as token ids. All systems follow `generation`, apart from the number of beams. Every output
    has `new_tokens` tokens.
    """

    name: str
    place: Place
    rows: list[list[int]]
    generation: GenerationDefaults
    new_tokens: int

    def batch(self, size: int, turn: int) -> list[list[int]]:
        """Returns the rows of a turn: each turn takes the next ones, and begins again after the last."""
        start = turn * size % len(self.rows)
        return list(islice(cycle(self.rows), start, start + size))

    def mean_input_tokens(self) -> float:
        return sum(map(len, self.rows)) / len(self.rows)


@dataclass
class Contender:
    """An open system with one layout, and its measurements for the current number of beams and batch size."""

    system: str
    layout: Layout
    child: Child
    model: Model
    load_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def warm_up(self, batch: int, beams: int) -> None:
        """Forgets the measurements, and generates a few tokens untimed with the next batch size and number of beams."""
        self.seconds = []
        self.first_seconds = []
        self._generate(self.model.batch(batch, 0), beams, WARMUP_TOKENS, is_first=True)

    def take_turn(self, batch: int, beams: int, turn: int, has_first_tokens: bool) -> None:
        """Measures the time of a whole batch and, where it is wanted, of its first tokens."""
        rows = self.model.batch(batch, turn)
        self.seconds.append(self._generate(rows, beams, self.model.new_tokens))
        if has_first_tokens:
            self.first_seconds.append(self._generate(rows, beams, 1))

    def tokens_per_second(self, batch: int) -> float:
        return batch * self.model.new_tokens / median(self.seconds)

    def _generate(self, rows: list[list[int]], beams: int, tokens: int, is_first: bool = False) -> float:
        options = self.model.generation.options(num_beams=beams, min_new_tokens=tokens, max_new_tokens=tokens)
        seconds, written, self.peak_bytes = self.child.call(generate, rows, options, is_first)
        # Our CTranslate2 runtime may write two tokens instead of one, see `peer_systems`.
        if tokens > 1 and written != len(rows) * tokens:
            raise BenchmarkFailed(f"wrote {written} tokens instead of {len(rows)} x {tokens}")
        return float(seconds)


def rows_of(contenders: Sequence[Contender], batch: int, beams: int) -> list[Record]:
    """Returns a row for each system, with the figures of its fastest layout."""
    rows = []
    for system in dict.fromkeys(each.system for each in contenders):
        own = [each for each in contenders if each.system == system]
        best = max(own, key=lambda each: each.tokens_per_second(batch))
        row: Record = {
            "model": best.model.name,
            "batch": batch,
            "beams": beams,
            "system": system,
            "layout": layout_words(best.layout),
            "layouts": {layout_words(each.layout): each.tokens_per_second(batch) for each in own},
            "input_tokens": best.model.mean_input_tokens(),
            "new_tokens": best.model.new_tokens,
            "tokens_per_second": best.tokens_per_second(batch),
            "load_seconds": best.load_seconds,
            "peak_bytes": best.peak_bytes,
        }
        if best.first_seconds:
            row["first_token_ms"] = median(best.first_seconds) * MILLISECONDS
        rows.append(row)
    return rows


def layout_words(layout: Layout) -> str:
    return f"{layout.workers}x{layout.threads}"


def copy_model(name: str, folder: Path, given: argparse.Namespace) -> Model:
    """Copies the weights of `TASK/VARIANT` to a new store in a folder. Systems make their own files of them."""
    task_name, _, variant = name.partition("/")
    task, store = Task(task_name), Store(given.store)
    manifest = store.manifest(task, variant)
    place = Place(folder, Store(folder / "store").folder(task, manifest.variant), task)
    without_exports = shutil.ignore_patterns(*DERIVED_FORMATS)
    shutil.copytree(store.folder(task, manifest.variant), place.original, ignore=without_exports)
    generation, tokenizer = manifest.generation, Tokenizer(place.original)
    examples = load_examples(task, BUNDLED).examples
    inputs = [tokenizer.encode(generation.prefix + each.source, generation.max_input_tokens) for each in examples]
    rows = [list(encoding.ids) for encoding in inputs]
    return Model(name, place, rows, generation, min(given.new_tokens or NEW_TOKENS, generation.max_new_tokens))


def shape_model(name: str, folder: Path, given: argparse.Namespace) -> Model:
    """Makes a model of a published shape in a folder, unless it is there from an earlier run."""
    shape, store = SHAPES[name], Store(folder / "store")
    # A process of its own, so that the memory that this takes is free afterwards.
    with Child(folder / "make.log", given.threads) as maker:
        maker.call(make_shape, shape, Store(given.store), store)
    place = Place(folder, store.folder(shape.task, VARIANT), shape.task)
    generation = store.manifest(shape.task, VARIANT).generation
    new_tokens = min(given.new_tokens or shape.new_tokens, shape.new_tokens)
    return Model(name, place, inputs_of(shape, place.original), generation, new_tokens)
