"""Measures the variants of a build and their reference: quality on each test set, speed in one interleaved run.

Measurements of the same artifacts on the same data are not repeated.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimseq.compression.build.keys import data_digest, key_of
from slimseq.compression.build.recipe import BASE, TestSet
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import EXPORTS
from slimseq.compression.measure.benchmark import BenchmarkOptions, benchmark_variants
from slimseq.compression.measure.evaluate import EvaluateOptions, evaluate_variants
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Task

MEASUREMENTS = "measurements.json"
BATCHES = (1, 16)
# One core, so that figures of machines with different numbers of cores are comparable.
THREADS = 1
SAMPLES = 32
# Enough for speed ratios that repeat within about 2 %.
REPEATS = 5


class Measurements:
    """The keys of finished measurements, stored in a JSON file.

    Args:
        path: the file; created by the first `keep`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._done: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._done = {}

    def is_done(self, name: str, key: str) -> bool:
        """Whether a measurement was finished with this key."""
        return self._done.get(name) == key

    def keep(self, name: str, key: str) -> None:
        """Records a finished measurement."""
        self._done[name] = key
        write_text(self._path, json.dumps(self._done, indent=2) + "\n")


def measure_variants(workspace: BuildWorkspace, context: Context, digests: Mapping[str, str], folder: Path) -> bool:
    """Runs missing measurements and writes them into the manifests.

    Args:
        workspace: the recipe and its data.
        context: with the store of the finished variants.
        digests: of all variants, the base and its reference included, by name.
        folder: the build's folder.

    Returns:
        Whether anything was measured.

    Raises:
        SlimseqError: a variant cannot be opened or a data set cannot be read.
    """
    recipe = workspace.recipe
    done = Measurements(folder / MEASUREMENTS)
    names = [BASE, *(name for name in digests if name != BASE)]
    measured = False
    for name in names:
        # Quality is measured on the default runtime.
        _export(context, recipe.task, name, "onnx")
    for test in recipe.data.test:
        data = workspace.path(test.data)
        key = key_of(test.model_dump(), data_digest([data]), dict(digests))
        label = f"{test.data} {test.prefix or ''}".strip()
        if done.is_done(label, key):
            continue
        context.say(f"Evaluating {', '.join(names)} on {test.data}")
        evaluate_variants(context, recipe.task, names, _options(test, data), keep=names)
        done.keep(label, key)
        measured = True
    if recipe.benchmark:
        measured = _benchmark(workspace, context, names, key_of(dict(digests)), done) or measured
    return measured


def _benchmark(workspace: BuildWorkspace, context: Context, names: Sequence[str], key: str, done: Measurements) -> bool:
    if done.is_done("speed", key):
        return False
    task = workspace.recipe.task
    for name in names:
        for runtime in SERVING_RUNTIMES.values():
            try:
                _export(context, task, name, runtime.format)
            except BadSource as error:
                context.say(f"{task}/{name} is not measured on {runtime.name}: {error}")
    for runtime in SERVING_RUNTIMES.values():
        openable = [name for name in names if context.store.has_format(task, name, runtime.format)]
        for batch in BATCHES if openable and runtime.is_installed else ():
            context.say(f"Timing {', '.join(openable)}, {runtime.name}, batch {batch}")
            options = BenchmarkOptions(
                batch=batch, samples=SAMPLES, repeats=REPEATS, runtime=runtime.name, threads=THREADS
            )
            benchmark_variants(context, task, openable, options, keep=True)
    done.keep("speed", key)
    return True


def _export(context: Context, task: Task, name: str, form: str) -> None:
    """Exports a variant with safetensors to a format that it lacks."""
    has_safetensors = context.store.manifest(task, name).has_format("safetensors")
    if has_safetensors and context.store.export_of(task, name, form) is None:
        EXPORTS[form](context, task, name)


def _options(test: TestSet, data: str) -> EvaluateOptions:
    settings: dict[str, Any] = {"split": test.split, "samples": test.samples, "prefix": test.prefix}
    return EvaluateOptions(dataset=data, generation=test.generation, threads=THREADS, **settings)
