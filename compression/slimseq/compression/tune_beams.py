"""`tune-beams`: finds the smallest number of beams that keeps the quality of a variant on dev data.

A student that learned from outputs of its teacher's beam search gives most of its probability to few outputs. It needs
fewer beams than the teacher: the students of Kim and Rush 2016 (https://arxiv.org/abs/1606.07947) decode greedily. With
fewer beams, each step of the decoder has fewer rows and takes less time. In a recipe:

    - tune-beams: {tolerance: 0.01}
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from rich.progress import Progress

from slimseq.compression.artifacts.outcome import Outcome, step_of
from slimseq.compression.artifacts.publish import check_name, copy_files, derived, publishing
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.held_out import MIN_PAIRS, check_enough, check_not_trained_on, files_record
from slimseq.compression.options import COMMON, DATA, flat
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.evaluation.dataset_files import DatasetSample
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.results import VariantResult
from slimseq.evaluation.run import Generate, evaluate, generate_with
from slimseq.inference.generator import open_generator
from slimseq.inference.models.configuration import read_json
from slimseq.models_store.files import write_json
from slimseq.models_store.generation import MAX_BEAMS
from slimseq.models_store.manifest import Manifest, Task


@flat(COMMON)
@dataclass(frozen=True)
class BeamOptions:
    """How many beams, or how to find their number."""

    num_beams: int | None = None
    """Number of beams. By default the fewest that keep enough quality on dev data."""
    tolerance: float = 0.01
    """Maximum share of the metric that fewer beams may lose, on average over the dev files."""
    samples: int | None = 500
    """Number of pairs of each dev file to generate for."""

    def check(self) -> None:
        if self.num_beams is not None and not 1 <= self.num_beams <= MAX_BEAMS:
            raise BadParameters(f"the beams are {self.num_beams}; there are from 1, which is greedy, to {MAX_BEAMS}")
        if not 0 <= self.tolerance < 1:
            raise BadParameters(f"the tolerance is {self.tolerance:g}; it is a share from 0 to below 1")
        if self.samples is not None and self.samples < MIN_PAIRS:
            raise BadParameters(f"--samples {self.samples} is too few to measure on: take at least {MIN_PAIRS}")


@dataclass(frozen=True)
class KeptQuality:
    """How much of the metric a number of beams keeps, as a share of what the artifact's own number of beams reaches."""

    share: float
    interval: tuple[float, float]

    @property
    def in_words(self) -> str:
        low, high = self.interval
        return f"{self.share:.1%} [{low:.1%}, {high:.1%}]"


@flat(DATA)
@dataclass(frozen=True)
class DevData(DataFiles):
    train: Sequence[str] = ()
    dev: Annotated[Sequence[str], Parameter(group=COMMON)] = ()
    """Held-out data to measure on, unless --num-beams is given: a .jsonl or .tsv file (also .gz) of at least 30 pairs,
    or a hub data set's name. Repeatable."""


def tune_beams(
    context: Context, task: Task, variant: str, name: str, options: BeamOptions, files: DataFiles | None = None
) -> Outcome:
    """Publishes an artifact again, with the same weights and a search of fewer beams.

    The last step of its lineage has the options, with the chosen number as `num_beams`. `kept` and `kept_interval` have
    the quality that each tried number of beams keeps, on average over the dev files.

    Raises:
        BadParameters: an option is out of range, the artifact samples, or dev data is needed and missing.
        BadData: a dev file has too few pairs, or the artifact was trained on it.
        UnknownVariant, InvalidArtifact, CorruptArtifact: the artifact cannot be read.
        DatasetUnavailable: the dev data cannot be read.
    """
    started = time.monotonic()
    options.check()
    check_name(context, task, name)
    parent = context.store.verify(task, variant)
    if parent.generation.do_sample:
        raise BadParameters(f"{task}/{variant} draws its tokens: it has no beams")
    dev = files.dev if files is not None else ()
    kept: dict[int, KeptQuality] = {}
    chosen = options.num_beams
    if chosen is None:
        if not dev:
            raise BadParameters("how many beams are enough is measured on dev data: give --dev, or --num-beams")
        kept = _measure(context, parent, _read_dev(context, parent, dev, options.samples))
        chosen = min(beams for beams, found in kept.items() if found.share >= 1 - options.tolerance)
    parameters = {
        **asdict(options),
        "num_beams": chosen,
        "kept": {str(beams): round(found.share, 4) for beams, found in kept.items()},
        "kept_interval": {str(beams): [round(bound, 4) for bound in found.interval] for beams, found in kept.items()},
        "dev": [Path(file).name for file in dev] if kept else [],
        **(files_record(dev=dev) if kept else {}),
    }
    description = f"{parent.description} Searches with {chosen} {'beam' if chosen == 1 else 'beams'}."
    identity = derived(parent, name, description, step_of(context, TECHNIQUE.name, parameters, parent.digest, started))
    generation = parent.generation.model_copy(update={"num_beams": chosen})
    with publishing(context.store, replace(identity, generation=generation), parent) as draft:
        copy_files(parent, context.store.folder(task, variant), draft.folder)
        # transformers reads this file and not the manifest.
        path = draft.folder / "generation_config.json"
        if path.exists():
            write_json(path, read_json(path) | {"num_beams": chosen})
    if parent.has_format("safetensors"):
        add_onnx(context, task, name)
    own = parent.generation.num_beams
    return Outcome(context.store.manifest(task, name), chosen=_in_words(chosen, own, kept, options))


def _in_words(chosen: int, own: int, kept: Mapping[int, KeptQuality], options: BeamOptions) -> list[str]:
    """Returns lines that say which number of beams was chosen, and how much quality each tried number keeps."""
    if not kept:
        return [f"Beams: {chosen}, as named; they were {own}."]
    shares = ", ".join(f"{beams}: {found.in_words}" for beams, found in kept.items())
    return [
        f"Beams: {chosen} instead of {own}, the fewest that lose at most {options.tolerance:.1%} on the dev data.",
        f"Quality relative to {own} beams, by number of beams, with 95 % intervals: {shares}.",
    ]


def _read_dev(context: Context, parent: Manifest, names: Sequence[str], samples: int | None) -> list[DatasetSample]:
    """Reads the dev data, and checks that it can say something about the artifact."""
    found = []
    for name in names:
        check_not_trained_on(context, {parent.variant: parent}, name)
        sample = load_examples(parent.task, name, "validation", samples)
        check_enough(name, len(sample.examples), "to choose the number of beams")
        found.append(sample)
    return found


def _measure(context: Context, parent: Manifest, dev: Sequence[DatasetSample]) -> dict[int, KeptQuality]:
    """Measures how much of the metric each number of beams keeps, from 1 to the parent's own number.

    With several dev files, shares and the bounds of intervals are means over the files.
    """
    task, variant, own = parent.task, parent.variant, parent.generation.num_beams
    shares: dict[int, list[tuple[float, float, float]]] = {beams: [] for beams in range(1, own + 1)}
    with context.progress() as progress, open_generator(context.store, task, variant) as generator:
        systems = {str(beams): generate_with(generator, parent.generation.options(num_beams=beams)) for beams in shares}
        for sample in dev:
            for result in _compare_with_last(task, sample, systems, progress):
                metric = result.metric(PRIMARY_METRIC[task])
                # If the parent scores 0, there is no retention.
                low, high = metric.retention_interval or (0.0, 0.0)
                shares[int(result.variant)].append((metric.retention or 0.0, low, high))
    kept = {}
    for beams, found in shares.items():
        share, low, high = np.mean(found, axis=0)
        kept[beams] = KeptQuality(float(share), (float(low), float(high)))
    # The parent's own number of beams keeps everything by definition, even if the parent scores 0.
    return kept | {own: KeptQuality(1.0, (1.0, 1.0))}


def _compare_with_last(
    task: Task, sample: DatasetSample, systems: Mapping[str, Generate], progress: Progress
) -> Sequence[VariantResult]:
    """Evaluates systems, with retention relative to the last of them."""
    *_, reference = systems
    bar = progress.add_task(f"search {sample.name}", total=None, status=f"1 to {reference} beams")
    return evaluate(
        task,
        sample,
        systems,
        references=dict.fromkeys(systems, reference),
        progress=lambda done, total: progress.update(bar, completed=done, total=total),
    ).variants


def _run(job: Job, options: BeamOptions) -> Outcome:
    return tune_beams(job.context, job.task, job.parent, job.name, options, job.files)


TECHNIQUE = Technique("tune-beams", _run, [BeamOptions], uses_dev=True)
