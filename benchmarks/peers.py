"""`python -m benchmarks.peers`: our runtimes beside CTranslate2, OpenVINO, optimum's ONNX Runtime and transformers.

All systems generate with the weights of a variant, from the bundled texts. With `--shapes` they generate with random
weights in the published configuration of a model that people use, from inputs of the length that it is used with. All
outputs have the same, forced length. Each system is open in a process of its own, with its own peak of memory. The
systems take turns within every repeat, one at a time. What is not installed is left out: OpenVINO is in
`.venv-openvino` (`make setup-openvino`), and optimum in `.venv-transformers4` (`make test-transformers4`).
"""

import argparse
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.command import (
    Record,
    leaving_out,
    left_out_lines,
    make_parser,
    measured_on,
    record,
    run,
    say,
    search_name,
    table,
)
from benchmarks.shapes import SHAPES
from benchmarks.systems.child import Child
from benchmarks.systems.contender import Contender, Model, copy_model, layout_words, rows_of, shape_model
from benchmarks.systems.peer_systems import ORIGINAL, SYSTEMS, open_system
from benchmarks.systems.transformers_systems import OPENVINO_SETTINGS
from benchmarks.translators import FIREFOX, measure_translators, translator_lines
from slimseq.evaluation.datasets import BUNDLED_PORTUGUESE
from slimseq.evaluation.fastest import Layout, even_layouts
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task

# Pause after a system with several threads: OpenMP's threads spin for up to 0.2 seconds after their work, on cores that
# the next system needs.
REST_SECONDS = 0.3
OURS = "slimseq-"
ENGINE = "slimseq-onnxruntime-int8"
# Systems that can use the cores in several ways (`Layout`): all for one batch, or each for a part of the batch.
WITH_LAYOUTS = (OURS, "ctranslate2-")
# Systems without parts of a batch, which get all cores, or one: where threads wait for one another at each operation,
# one may be faster.
WITH_FEWER_THREADS = ("openvino-",)
# The table of ratios compares us with these systems, which have int8 weights like ours.
COMPARED = ("optimum-int8", "openvino-int8", "ctranslate2-int8", "ctranslate2-iterable-int8")
# What is measured where the command does not say: variants with all systems, shapes with those that have int8 weights
# and their own environment in common.
VARIANTS = {"systems": list(SYSTEMS), "batches": [1, 8, 32], "repeats": 10}
OF_SHAPES = {
    "systems": [ENGINE, "ctranslate2-int8", "openvino-int8"],
    "batches": [1, 4, 16],
    "repeats": 5,
}
# Where models of shapes are made.
SHAPES_FOLDER = Path(__file__).parents[1] / "build" / "shapes"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    given.threads = given.threads or available_cores()
    if not given.models and not given.shapes:
        given.models = [f"{task}/{ORIGINAL}" for task in Task]
    for name, value in (OF_SHAPES if given.shapes else VARIANTS).items():
        setattr(given, name, getattr(given, name) or value)
    names = ("models", "shapes", "data", "systems", "batches", "beams", "new_tokens", "repeats", "threads")
    found = record(settings={name: getattr(given, name) for name in names}, rows=[], left_out={})
    if "openvino-int8" in given.systems:
        found["settings"]["openvino"] = OPENVINO_SETTINGS
    for name in given.models:
        if name == FIREFOX:
            with leaving_out(found, name):
                found["translators"] = measure_translators(given, scratch, found)
            continue
        folder = scratch / name.replace("/", "-")
        folder.mkdir()
        with leaving_out(found, name):
            measure_model(copy_model(name, folder, given), given, found)
    for name in given.shapes:
        with leaving_out(found, name), folder_of_shape(name, given) as folder:
            measure_model(shape_model(name, folder, given), given, found)
    return found


def measure_model(model: Model, given: argparse.Namespace, found: Record) -> None:
    """Measures all systems with a model, in turns. Adds their rows to the record."""
    # The settings with the least memory first, because systems keep memory that they no longer need.
    settings = sorted(product(given.batches, given.beams), key=math.prod)
    with ExitStack() as stack:
        contenders = open_systems(model, given, found, stack)
        for batch, beams in settings:
            take_turns(contenders, partial(Contender.warm_up, batch=batch, beams=beams), found)
            for turn in range(given.repeats):
                # Each turn begins with another contender, so that none has the place after a slow one each time.
                first = turn % max(len(contenders), 1)
                order = contenders[first:] + contenders[:first]
                # Tables show the time of the first token for the smallest batch only.
                has_first_tokens = batch == min(given.batches)
                work = partial(Contender.take_turn, batch=batch, beams=beams, turn=turn)
                take_turns(order, partial(work, has_first_tokens=has_first_tokens), found)
            found["rows"] += rows_of(remaining(contenders, found), batch, beams)
            say(f"{model.name}, batch {batch}, beams {beams}: measured")


@contextmanager
def folder_of_shape(name: str, given: argparse.Namespace) -> Iterator[Path]:
    """Yields the folder for a shape and the files that all systems make of it. Without `--keep` it is removed then."""
    folder: Path = given.cache / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not given.keep:
            shutil.rmtree(folder)


def open_systems(model: Model, given: argparse.Namespace, found: Record, stack: ExitStack) -> list[Contender]:
    """Opens every system in a process of its own for each layout. Another process makes the system's files before.

    So the peak of memory of a system does not include the making of its files.
    """
    folder, opened = model.place.folder, []
    for system in given.systems:
        layouts = layouts_of(system, given.threads)
        with leaving_out(found, f"{model.name}: {system}"):
            with Child(folder / f"{system}-make.log", given.threads) as maker:
                maker.call(open_system, system, model.place, layouts[0])
            for layout in layouts:
                child = stack.enter_context(Child(folder / f"{system}-{layout_words(layout)}.log", layout.threads))
                seconds = child.call(open_system, system, model.place, layout)
                opened.append(Contender(system, layout, child, model, load_seconds=seconds))
    return opened


def layouts_of(system: str, threads: int) -> list[Layout]:
    """Returns the ways in which a system uses the cores. All are measured, and the faster one is shown."""
    if system.startswith(WITH_LAYOUTS):
        return even_layouts(threads)
    if system.startswith(WITH_FEWER_THREADS) and threads > 1:
        return [Layout(1, threads), Layout(1, 1)]
    return [Layout(1, threads)]


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


def lines(found: Record) -> Iterator[str]:
    settings = found["settings"]
    yield from translator_lines(found)
    yield (
        f"`python -m benchmarks.peers`, {settings['threads']} threads, outputs of forced lengths. Median output tokens "
        "a second of the faster layout of each system."
    )
    yield from ("", measured_on(found), "")
    for model, beams in dict.fromkeys((row["model"], row["beams"]) for row in found["rows"]):
        cells: dict[str, dict[int, Record]] = {}
        for row in found["rows"]:
            if (row["model"], row["beams"]) == (model, beams):
                cells.setdefault(row["system"], {})[row["batch"]] = row
        batches = sorted({batch for rows in cells.values() for batch in rows})
        head = [f"batch {batch}" for batch in batches]
        one = next(row for row in found["rows"] if row["model"] == model)
        lengths = f"{one['input_tokens']:.0f} tokens in, {one['new_tokens']} out"
        yield from (f"### {model}, {search_name(beams)}, {lengths}", "")
        yield from table(
            ("system", *head, "first token, ms", "peak MB", "load, s"),
            [_system(name, rows, batches) for name, rows in cells.items()],
        )
        yield ""
        ratios = [[name, *(_ratio(name, cells, batch) for batch in batches)] for name in COMPARED if name in cells]
        yield from table(("Slimseq, times as fast as", *head), ratios)
        yield ""
    yield from left_out_lines(found)


def _system(name: str, rows: dict[int, Record], batches: Sequence[int]) -> list[str]:
    speeds = [f"{rows[batch]['tokens_per_second']:,.0f}" if batch in rows else "-" for batch in batches]
    smallest, largest = rows[min(rows)], rows[max(rows)]
    return [
        name,
        *speeds,
        f"{smallest['first_token_ms']:.1f}" if "first_token_ms" in smallest else "-",
        f"{largest['peak_bytes'] / 1e6:,.0f}",
        f"{smallest['load_seconds']:.1f}",
    ]


def _ratio(other: str, cells: dict[str, dict[int, Record]], batch: int) -> str:
    """Returns how many times as fast our own engine and our fastest runtime are."""
    speeds = {name: rows[batch]["tokens_per_second"] for name, rows in cells.items() if batch in rows}
    if other not in speeds or ENGINE not in speeds:
        return "-"
    fastest = max(speed for name, speed in speeds.items() if name.startswith(OURS))
    return f"{speeds[ENGINE] / speeds[other]:.2f} (auto {fastest / speeds[other]:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("peers", __doc__)
    originals = " ".join(f"{task}/{ORIGINAL}" for task in Task)
    parser.add_argument("--models", nargs="+", metavar="TASK/VARIANT", default=[], help=f"or {FIREFOX}; {originals}")
    parser.add_argument(
        "--shapes", nargs="+", choices=list(SHAPES), default=[], metavar="SHAPE", help=", ".join(SHAPES)
    )
    parser.add_argument("--cache", type=Path, default=SHAPES_FOLDER, help="where shapes are made, with all their files")
    parser.add_argument("--keep", action="store_true", help="keep each shape for the next run, up to 10 GB of a shape")
    parser.add_argument("--data", default=BUNDLED_PORTUGUESE, metavar="FILE", help=f"pairs that {FIREFOX} translates")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), help="all; for shapes those with int8 weights")
    parser.add_argument("--batches", nargs="+", type=int, help="texts of a batch: 1 8 32; for shapes 1 4 16")
    parser.add_argument("--beams", nargs="+", type=int, default=[1, 4], help="1 is greedy search")
    parser.add_argument("--new-tokens", type=int, default=0, help="of every output: 64, or what a shape is used with")
    parser.add_argument("--repeats", type=int, default=0, help="of each setting: 10; for shapes 5")
    parser.add_argument("--threads", type=int, default=0, help="of each system; all cores by default")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
