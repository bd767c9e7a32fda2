"""`python -m benchmarks.files`: `slimseq generate` on a file beside its own engine, and CTranslate2's way with files.

All generate the same texts with the same int8 weights, on one core, whole and as they are. The engine gets rows that
are encoded and sorted already, in this process, so that the file's reading, text handling, order and writing are what
the job takes more. Starts of processes and models do not count. Systems take turns within every repeat.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from benchmarks.command import Record, make_parser, measured_on, record, run, say, search_name, table
from benchmarks.systems.peer_systems import SYSTEMS
from benchmarks.systems.place import Place
from slimseq.evaluation.bulk.file_job import FileJob
from slimseq.evaluation.bulk.generate_file import EngineChoice, generate_file
from slimseq.evaluation.bulk.journal import Progress
from slimseq.evaluation.bulk.row_processor import BATCH_ROWS
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.fastest import Layout
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

JOB, ENGINE, ITERABLE = "slimseq generate", "the engine in process", "translate_iterable"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    task, variant = Task(given.model.partition("/")[0]), given.model.partition("/")[2]
    store = Store(given.store)
    examples = load_examples(task, given.data).examples
    texts = [each.source for each in islice(cycle(examples), given.rows)]
    data = scratch / "data.txt"
    data.write_text("\n".join(" ".join(text.split()) for text in texts), encoding="utf-8")
    options = {"num_beams": given.beams} if given.beams else {}
    with open_generator(store, task, variant, "onnxruntime", threads=1) as generator:
        chosen = generator.manifest.generation.options(**options)
        systems: dict[str, Callable[[int], float]] = {
            JOB: lambda turn: _job(store, task, variant, options, data, scratch / f"out-{turn}.txt"),
            ENGINE: lambda _: _engine(generator, texts, chosen),
        }
        if given.iterable:
            place = Place(scratch, store.folder(task, given.iterable), task)
            translate = SYSTEMS["ctranslate2-iterable-int8"](place, Layout(1, 1))
            systems[ITERABLE] = lambda _: _iterable(generator, translate, texts, chosen)
        found: dict[str, list[float]] = {name: [] for name in systems}
        for turn in range(given.repeats):
            for name, system in systems.items():
                found[name].append(system(turn))
            say(f"repeat {turn + 1} of {given.repeats}: measured")
    settings = {"model": given.model, "rows": given.rows, "beams": chosen.num_beams, "repeats": given.repeats}
    return record(settings=settings, tokens_per_second={name: median(values) for name, values in found.items()})


def _job(store: Store, task: Task, variant: str, options: dict[str, int], data: Path, out: Path) -> float:
    """Returns the output tokens a second of a job, from the start of its workers to its end."""
    started = 0.0

    def on_progress(progress: Progress, *_: object) -> None:
        nonlocal started
        if not progress.rows:
            started = time.perf_counter()

    engine = EngineChoice(store, task, variant, RowSettings(options=options, as_is=True), "onnxruntime", workers=1)
    done = generate_file(FileJob((data,), out), engine, on_progress)
    return done.output_tokens / (time.perf_counter() - started)


def _engine(generator: TextGenerator, texts: Sequence[str], options: GenerationOptions) -> float:
    rows = sorted(generator.encode_many(texts), key=lambda row: -len(row.ids))
    started = time.perf_counter()
    tokens = 0
    for start in range(0, len(rows), BATCH_ROWS):
        tokens += sum(each.output_tokens for each in generator.generate(rows[start : start + BATCH_ROWS], options))
    return tokens / (time.perf_counter() - started)


def _iterable(
    generator: TextGenerator,
    translate: Callable[[Sequence[Sequence[int]], GenerationOptions], list[list[int]]],
    texts: Sequence[str],
    options: GenerationOptions,
) -> float:
    started = time.perf_counter()
    rows = [list(row.ids) for row in generator.encode_many(texts)]
    outputs = translate(rows, options)
    for ids in outputs:
        generator.tokenizer.decode(ids)
    return sum(map(len, outputs)) / (time.perf_counter() - started)


def lines(found: Record) -> Iterator[str]:
    settings, speeds = found["settings"], found["tokens_per_second"]
    search = search_name(settings["beams"])
    yield f"`python -m benchmarks.files`: {settings['model']}, {settings['rows']:,} rows, {search}, one core."
    yield from ("", measured_on(found), "")
    rows = [(name, f"{speed:,.0f}", f"{speeds[JOB] / speed:.2f}") for name, speed in speeds.items()]
    yield from table(("system", "output tokens/s", "slimseq generate, times as fast"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("files", __doc__)
    parser.add_argument("--model", default="translation/quantized", metavar="TASK/VARIANT", help="int8 ONNX")
    parser.add_argument("--iterable", metavar="VARIANT", help="float variant that CTranslate2 quantizes and runs too")
    parser.add_argument("--data", default=BUNDLED, metavar="FILE", help="texts, repeated as often as needed")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--beams", type=int, default=0, help="by default the variant's")
    parser.add_argument("--repeats", type=int, default=5)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
