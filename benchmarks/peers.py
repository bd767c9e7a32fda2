"""`python -m benchmarks.peers`: our runtimes beside transformers, optimum's ONNX Runtime and plain CTranslate2.

All systems generate with the weights of a variant, from the bundled texts, outputs of the same length. Each is open in
a process of its own, with its own peak of memory. They take turns within every repeat, one at a time.
"""

import argparse
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from statistics import median

from benchmarks.command import (
    MILLISECONDS,
    BenchmarkFailed,
    Record,
    leaving_out,
    make_parser,
    measured_on,
    record,
    run,
    say,
    search_name,
    table,
)
from benchmarks.systems.child import Child
from benchmarks.systems.peer_systems import ORIGINAL, SYSTEMS, Place, generate, open_system
from benchmarks.translators import FIREFOX, measure_translators, translator_lines
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.fastest import Layout, even_layouts
from slimseq.evaluation.host import available_cores
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import DERIVED_FORMATS, Task
from slimseq.models_store.store import Store

# Output tokens of the untimed generation before each setting.
WARMUP_TOKENS = 4
# Pause after a system with several threads: OpenMP's threads spin for up to 0.2 seconds after their work, on cores that
# the next system needs.
REST_SECONDS = 0.3
OURS = "slimseq-"
ENGINE = "slimseq-onnxruntime-int8"
# Systems that can use the cores in several ways (`Layout`): all for one batch, or each for a part of the batch.
WITH_LAYOUTS = (OURS, "ctranslate2-")
# The table of ratios compares us with these systems, which have int8 weights like ours.
COMPARED = ("optimum-int8", "ctranslate2-int8", "ctranslate2-iterable-int8")


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


@dataclass
class Contender:
    """An open system with one layout, and its measurements for the current number of beams and batch size."""

    system: str
    layout: Layout
    child: Child
    model: Model
    seconds: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def warm_up(self, batch: int, beams: int) -> None:
        """Forgets the measurements, and generates a few tokens untimed with the next batch size and number of beams."""
        self.seconds = []
        self.first_seconds = []
        self._generate(self.model.batch(batch, 0), beams, WARMUP_TOKENS, is_first=True)

    def take_turn(self, batch: int, beams: int, turn: int) -> None:
        """Measures the time of a whole batch, and of its first tokens."""
        rows = self.model.batch(batch, turn)
        self.seconds.append(self._generate(rows, beams, self.model.new_tokens))
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
    return Model(name, place, rows, generation, min(given.new_tokens, generation.max_new_tokens))


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    given.threads = given.threads or available_cores()
    names = ("models", "data", "systems", "batches", "beams", "new_tokens", "repeats", "threads")
    found = record(settings={name: getattr(given, name) for name in names}, rows=[], left_out={})
    # The settings with the least memory first, because systems keep memory that they no longer need.
    settings = sorted(product(given.batches, given.beams), key=math.prod)
    for name in given.models:
        if name == FIREFOX:
            with leaving_out(found, name):
                found["translators"] = measure_translators(given, scratch, found)
            continue
        folder = scratch / name.replace("/", "-")
        folder.mkdir()
        with leaving_out(found, name), ExitStack() as stack:
            contenders = open_systems(copy_model(name, folder, given), given, found, stack)
            for batch, beams in settings:
                take_turns(contenders, partial(Contender.warm_up, batch=batch, beams=beams), found)
                for turn in range(given.repeats):
                    # Each turn begins with another contender, so that none has the place after a slow one each time.
                    first = turn % max(len(contenders), 1)
                    order = contenders[first:] + contenders[:first]
                    take_turns(order, partial(Contender.take_turn, batch=batch, beams=beams, turn=turn), found)
                found["rows"] += rows_of(remaining(contenders, found), batch, beams)
                say(f"{name}, batch {batch}, beams {beams}: measured")
    return found


def open_systems(model: Model, given: argparse.Namespace, found: Record, stack: ExitStack) -> list[Contender]:
    """Opens every system in a process of its own for each layout. Another process makes the system's files before.

    So the peak of memory of a system does not include the making of its files.
    """
    folder, opened = model.place.folder, []
    for system in given.systems:
        layouts = even_layouts(given.threads) if system.startswith(WITH_LAYOUTS) else [Layout(1, given.threads)]
        with leaving_out(found, f"{model.name}: {system}"):
            with Child(folder / "make.log") as maker:
                maker.call(open_system, system, model.place, layouts[0])
            for layout in layouts:
                child = stack.enter_context(Child(folder / f"{system}-{_words(layout)}.log", layout.threads))
                child.call(open_system, system, model.place, layout)
                opened.append(Contender(system, layout, child, model))
    return opened


def remaining(contenders: Sequence[Contender], found: Record) -> list[Contender]:
    """Returns the contenders whose system has not failed."""
    return [each for each in contenders if f"{each.model.name}: {each.system}" not in found["left_out"]]


def take_turns(contenders: Sequence[Contender], work: Callable[[Contender], None], found: Record) -> None:
    """Lets one contender work after the other; systems that fail are left out from then on."""
    for each in contenders:
        if remaining([each], found):
            with leaving_out(found, f"{each.model.name}: {each.system}"):
                work(each)
            if each.layout.threads > 1:
                time.sleep(REST_SECONDS)


def rows_of(contenders: Sequence[Contender], batch: int, beams: int) -> list[Record]:
    """Returns a row for each system, with the figures of its fastest layout."""
    rows = []
    for system in dict.fromkeys(each.system for each in contenders):
        own = [each for each in contenders if each.system == system]
        best = max(own, key=lambda each: each.tokens_per_second(batch))
        rows.append(
            {
                "model": best.model.name,
                "batch": batch,
                "beams": beams,
                "system": system,
                "layout": _words(best.layout),
                "layouts": {_words(each.layout): each.tokens_per_second(batch) for each in own},
                "tokens_per_second": best.tokens_per_second(batch),
                "first_token_ms": median(best.first_seconds) * MILLISECONDS,
                "peak_bytes": best.peak_bytes,
            }
        )
    return rows


def _words(layout: Layout) -> str:
    return f"{layout.workers}x{layout.threads}"


def lines(found: Record) -> Iterator[str]:
    settings = found["settings"]
    yield from translator_lines(found.get("translators", []), settings.get("data"))
    yield (
        f"`python -m benchmarks.peers`, {settings['threads']} threads, {settings['new_tokens']} tokens out. Median "
        "output tokens a second of the faster layout of each system."
    )
    yield from ("", measured_on(found), "")
    for model, beams in dict.fromkeys((row["model"], row["beams"]) for row in found["rows"]):
        cells: dict[str, dict[int, Record]] = {}
        for row in found["rows"]:
            if (row["model"], row["beams"]) == (model, beams):
                cells.setdefault(row["system"], {})[row["batch"]] = row
        batches = sorted({batch for rows in cells.values() for batch in rows})
        head = [f"batch {batch}" for batch in batches]
        yield from (f"### {model}, {search_name(beams)}", "")
        yield from table(
            ("system", *head, "first token, ms", "peak MB"),
            [_system(name, rows, batches) for name, rows in cells.items()],
        )
        yield ""
        ratios = [[name, *(_ratio(name, cells, batch) for batch in batches)] for name in COMPARED if name in cells]
        yield from table(("Slimseq, times as fast as", *head), ratios)
        yield ""
    yield from (f"{name} is left out: {reason}" for name, reason in found["left_out"].items())


def _system(name: str, rows: dict[int, Record], batches: Sequence[int]) -> list[str]:
    speeds = [f"{rows[batch]['tokens_per_second']:,.0f}" if batch in rows else "-" for batch in batches]
    return [name, *speeds, f"{rows[min(rows)]['first_token_ms']:.1f}", f"{rows[max(rows)]['peak_bytes'] / 1e6:,.0f}"]


def _ratio(other: str, cells: dict[str, dict[int, Record]], batch: int) -> str:
    """Returns how many times as fast our own engine and our fastest runtime are."""
    speeds = {name: rows[batch]["tokens_per_second"] for name, rows in cells.items() if batch in rows}
    if other not in speeds or ENGINE not in speeds:
        return "-"
    fastest = max(speed for name, speed in speeds.items() if name.startswith(OURS))
    return f"{speeds[ENGINE] / speeds[other]:.2f} (auto {fastest / speeds[other]:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("peers", __doc__)
    models = [f"{task}/{ORIGINAL}" for task in Task]
    parser.add_argument("--models", nargs="+", metavar="TASK/VARIANT", default=models, help=f"or {FIREFOX}")
    parser.add_argument("--data", default=BUNDLED, metavar="FILE", help=f"pairs that {FIREFOX} translates")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32], help="texts of a batch")
    parser.add_argument("--beams", nargs="+", type=int, default=[1, 4], help="1 is greedy search")
    parser.add_argument("--new-tokens", type=int, default=64, help="of every output")
    parser.add_argument("--repeats", type=int, default=10, help="of each setting")
    parser.add_argument("--threads", type=int, default=0, help="of each system; all cores by default")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
