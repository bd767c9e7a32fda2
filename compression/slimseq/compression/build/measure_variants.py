"""Measures the variants of a build and their reference: quality on each test set, speed in one interleaved run.

Measurements of the same artifacts on the same data are not repeated: a JSON file in the build's folder keeps them.
`build` writes them into the manifests.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from slimseq.compression.build.recipe import TestSet
from slimseq.compression.build.steps import BuildWorkspace
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import EXPORTS
from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants
from slimseq.compression.measure_speed import BenchmarkOptions, benchmark_variants
from slimseq.compression.step_keys import data_digest, key_of
from slimseq.evaluation.gate import baseline_warning
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.recording import with_newest
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance, QualityScore

# Sizes of the batches whose speed is measured.
BATCHES = (1, 16)
# One core, so that figures of machines with different numbers of cores are comparable.
THREADS = 1
# Number of texts whose speed is measured.
SAMPLES = 32
# Number of samples of a test set that show, before a build, whether its base model is of any use.
FIRST_SAMPLES = 32
# With so many repeats, speed ratios of two runs agree within about 2 %.
REPEATS = 5


class Finished(BaseModel):
    """The results of one measurement, by variant. `key` is the hash of the measured artifacts and the data."""

    key: str
    scores: dict[str, list[QualityScore]] = {}
    speeds: dict[str, list[Performance]] = {}


class Measurements:
    """The results of a build's measurements, in a JSON file.

    `is_new` says whether any measurement was made now, and not only read from the file.
    """

    _CONTENT = TypeAdapter(dict[str, Finished])

    def __init__(self, path: Path) -> None:
        self._path = path
        self._current: list[Finished] = []
        self.is_new = False
        try:
            self._done = self._CONTENT.validate_json(path.read_bytes())
        except (OSError, ValueError):
            self._done = {}

    def take(self, name: str, key: str, measure: Callable[[], Finished]) -> None:
        """Adds the result of a measurement. `measure` is only called if the file has no result with this key."""
        if name not in self._done or self._done[name].key != key:
            self._done[name] = measure()
            self.is_new = True
            write_text(self._path, self._CONTENT.dump_json(self._done, indent=2).decode() + "\n")
        self._current.append(self._done[name])

    def added_to(self, manifest: Manifest) -> Manifest:
        """Returns a manifest with the results for its variant. Newer figures in the manifest stay."""
        scores = [score for each in self._current for score in each.scores.get(manifest.variant, [])]
        speeds = [speed for each in self._current for speed in each.speeds.get(manifest.variant, [])]
        found = {"quality": scores, "performance": speeds, "layouts": [], "confidence": None}
        return with_newest(manifest, manifest.model_copy(update=found))


def measure_variants(workspace: BuildWorkspace, context: Context, digests: Mapping[str, str]) -> Measurements:
    """Runs missing measurements, and returns what they and earlier ones of this build found."""
    recipe = workspace.recipe
    done = Measurements(workspace.folder / "measurements.json")
    base = recipe.base.variant
    names = [base, *(name for name in digests if name != base)]
    for name in names:
        # Quality is measured on the default runtime.
        _export(context, recipe.task, name, "onnx")
    for test in recipe.data.test:
        data = workspace.path(test.data)
        key = key_of(test.model_dump(), data_digest([data]), dict(digests))

        def evaluate(test: TestSet = test, data: str = data, key: str = key) -> Finished:
            context.say(f"Evaluating {', '.join(names)} on {test.data}")
            chosen: dict[str, Any] = {"split": test.split, "samples": test.samples, "prefix": test.prefix}
            options = EvaluateOptions(dataset=data, generation=test.generation, threads=THREADS, **chosen)
            return Finished(key=key, scores=evaluate_variants(context, recipe.task, names, options).scores)

        done.take(f"{test.data} {test.prefix or ''}".strip(), key, evaluate)
    if recipe.benchmark:
        key = key_of(dict(digests))
        done.take("speed", key, lambda: Finished(key=key, speeds=_speeds(workspace, context, names)))
    return done


def warn_of_useless_base(workspace: BuildWorkspace, context: Context, root: str) -> None:
    """Warns before the first step if the base model scores no more than the trivial baseline.

    A gate that compares variants with such a model says nothing, and a build takes hours. The first samples of the
    first test set are enough to see it.
    """
    recipe = workspace.recipe
    has_gate = any(variant.gate is not None and variant.gate.retention for variant in recipe.variants.values())
    if not has_gate or not recipe.data.test:
        return
    test = recipe.data.test[0]
    _export(context, recipe.task, recipe.base.variant, "onnx")
    options = EvaluateOptions(
        dataset=workspace.path(test.data),
        split=test.split,
        samples=min(test.samples or FIRST_SAMPLES, FIRST_SAMPLES),
        prefix=test.prefix,
        generation=test.generation,
        threads=THREADS,
    )
    scores = evaluate_variants(context, recipe.task, [recipe.base.variant], options).scores[root]
    score = next(each for each in scores if each.metric == PRIMARY_METRIC[recipe.task])
    warning = baseline_warning(recipe.task, root, score, is_base=True)
    if warning is not None:
        context.say(f"Warning: on the first {score.samples} samples, {warning}. So does a gate over it.")


def _speeds(workspace: BuildWorkspace, context: Context, names: Sequence[str]) -> dict[str, list[Performance]]:
    task = workspace.recipe.task
    for name in names:
        for runtime in SERVING_RUNTIMES.values():
            try:
                _export(context, task, name, runtime.format)
            except BadSource as error:
                context.say(f"{task}/{name} is not measured on {runtime.name}: {error}")
    found: dict[str, list[Performance]] = {name: [] for name in names}
    for runtime in SERVING_RUNTIMES.values():
        openable = [name for name in names if context.store.has_format(task, name, runtime.format)]
        if not openable or not runtime.is_installed:
            continue
        for batch in BATCHES:
            context.say(f"Timing {', '.join(openable)}, {runtime.name}, batch {batch}")
            options = BenchmarkOptions(
                batch=batch, samples=SAMPLES, repeats=REPEATS, runtime=runtime.name, threads=THREADS
            )
            for name, performance in benchmark_variants(context, task, openable, options).items():
                found[name].append(performance)
    return found


def _export(context: Context, task: Task, name: str, form: str) -> None:
    """Exports a variant with safetensors to a format that it lacks."""
    has_safetensors = context.store.manifest(task, name).has_format("safetensors")
    if has_safetensors and context.store.export_of(task, name, form) is None:
        EXPORTS[form](context, task, name)
