"""Publishes the front of a run: the recipe that repeats it, the variants with what was measured, and the pictures."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.build.build import build
from slimseq.compression.build.recipe import read_recipe
from slimseq.compression.compress.candidate import Candidate, FrontPoint, served_bytes
from slimseq.compression.compress.figures.front_chart import front_chart
from slimseq.compression.compress.figures.structure_chart import structure_chart
from slimseq.compression.compress.front import Front
from slimseq.compression.compress.measuring import dev_outputs
from slimseq.compression.compress.recipe_paths import note_on_paths
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.structures.structure_rows import StructureRow
from slimseq.compression.measure_quality import EvaluateOptions, evaluate_variants, record_scores
from slimseq.compression.measure_speed import record_speeds
from slimseq.evaluation.dataset_files import DatasetSample
from slimseq.evaluation.gate import confirmed_verdict
from slimseq.evaluation.host import cpu_flags
from slimseq.evaluation.recording import add_scores
from slimseq.evaluation.run import Tally, evaluate
from slimseq.inference.generator import TextOutput, runtimes_for
from slimseq.models_store.files import write_text
from slimseq.models_store.fronts import Front as FrontRecord
from slimseq.models_store.fronts import FrontVariant, StructureWorth, add_front
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import QualityScore

RECIPE = "compress.yaml"
# Figures in the run's folder: of the front, and of what structures cost and are worth.
FRONT_FIGURE, STRUCTURE_FIGURE = "compress.svg", "structures.svg"
# Name and split of held-out pairs in the manifests.
HELD_OUT, SPLIT = "held-out", "dev"


def publish_front(
    run: Run,
    candidates: Sequence[Candidate],
    front: Front,
    remarks: Sequence[str],
    structures: Sequence[StructureRow] = (),
) -> list[QualityScore]:
    """Writes the recipe and the figures, lets `build` publish the variants of the front, and records measurements.

    Args:
        run: the run.
        candidates: all that were tried.
        front: the candidates to publish.
        remarks: what the user should know, one sentence each.
        structures: what each structure of the original costs and is worth, if it was measured.

    Returns:
        The scores of the chosen variant on test data, one for each test; empty if there is none.
    """
    names = [point.variant for point in front.front]
    published = [candidate for candidate in candidates if candidate.name in names]
    path = run.folder.path / RECIPE
    write_text(path, recipe_text(run, published, front, remarks))
    _write_figures(run, front, structures)
    build(run.context, read_recipe(path), run.folder.path, run.build_folder, measure=False)
    scores = _scores(run, published)
    for point in front.front:
        _record(run, point, scores[point.variant])
    store, task = run.context.store, run.original.task
    timed = [run.original.variant, *names]
    record_speeds(run.context, [store.manifest(task, name) for name in timed], front.speeds)
    add_front(store.root, task, _front_record(run, front, remarks, structures))
    tested = []
    for test in run.options.test:
        found = evaluate_variants(run.context, task, names, EvaluateOptions(dataset=test), will_be_recorded=True)
        record_scores(run.context, found, list(found.scores))
        if front.chosen is not None:
            tested += [score for score in found.scores[front.chosen] if score.metric == run.judge.metric]
    return tested


def recipe_text(run: Run, published: Sequence[Candidate], front: Front, remarks: Sequence[str]) -> str:
    """Returns the recipe of the front, as YAML.

    Its description says how it was found, and comments at its head say which paths do not move along with it.
    """
    gate: dict[str, Any] = {"retention": run.options.keep}
    if run.options.scorer is None:
        gate |= {"metric": run.judge.metric}
    passed = {point.variant for point in front.front if point.keeps}
    record = run.recipe_record(published, dict.fromkeys(passed, gate))
    record["description"] = (
        f"Found by compress --keep {run.options.keep:g} --within {run.options.within} --aim {run.options.aim}. "
        f"{front.reason}. {' '.join(remarks)}"
    )
    data = record["data"]
    note = note_on_paths([*data["train"], *data["exclude"], *data["test"]], run.folder.path)
    return note + yaml.dump(record, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=118)


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values again, and not as references to the first of them."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _front_record(run: Run, front: Front, remarks: Sequence[str], structures: Sequence[StructureRow]) -> FrontRecord:
    """Returns what the store keeps of the front."""
    return FrontRecord(
        original=run.original.variant,
        digest=run.original.digest,
        keep=run.options.keep,
        metric=run.judge.name,
        is_agreement=run.data.is_agreement,
        aim=run.options.aim,
        within=run.options.within,
        samples=len(run.confirming_half),
        variants=[
            FrontVariant(**point.record(), digest=run.context.store.manifest(run.original.task, point.variant).digest)
            for point in front.front
        ],
        structures=[
            StructureWorth(
                name=f"{row.group} {row.name} {part.name}" if row.name != row.group else row.name,
                seconds_share=part.seconds_share,
                loss=sum(step.loss or 0.0 for step in part.steps),
            )
            for row in structures
            for part in row.parts
        ],
        chosen=front.chosen,
        reason=front.reason,
        remarks=list(remarks),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_figures(run: Run, front: Front, structures: Sequence[StructureRow]) -> None:
    title = f"{run.original.task}/{run.original.variant}"
    measure = f"{run.judge.name} kept" if not run.data.is_agreement else "agreement with the original"
    figure = front_chart(front.front, run.options.keep, title, measure, served_bytes(run.original))
    write_text(run.folder.path / FRONT_FIGURE, figure)
    if structures:
        write_text(run.folder.path / STRUCTURE_FIGURE, structure_chart(structures, title))


def _scores(run: Run, published: Sequence[Candidate]) -> dict[str, list[QualityScore]]:
    """Returns the scores of variants on the confirming half, for their manifests."""
    confirming = run.confirming_half
    manifests = {
        each.variant: each
        for each in [run.original, *(run.store.manifest(run.original.task, each.name) for each in published)]
    }
    tallies = {name: _tally(run, manifest, confirming) for name, manifest in manifests.items()}
    names = [Path(name).name for name in run.data.dev_files]
    sample = DatasetSample(
        HELD_OUT if run.data.is_held_out else " + ".join(names),
        SPLIT,
        tuple(run.data.dev[index] for index in confirming),
    )
    evaluation = evaluate(
        run.original.task,
        sample,
        # Nothing is generated again: all outputs are there.
        {name: lambda _: [] for name in manifests},
        references=dict.fromkeys(manifests, run.original.variant),
        tallies=tallies,
    )
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        name: evaluation.quality_scores(
            name,
            runtime=runtimes_for(run.store, manifest)[0].name,
            cpu_flags=cpu_flags(),
            measured_at=measured_at,
            generation=manifest.generation.options().model_dump()
            | {"prefix": manifest.generation.prefix, "max_input_tokens": manifest.generation.max_input_tokens},
            reference=run.original.digest,
        )
        for name, manifest in manifests.items()
    }


def _tally(run: Run, manifest: Manifest, indices: Sequence[int]) -> Tally:
    texts = dev_outputs(run.own_context, run.folder, run.store, manifest, run.data.dev)
    outputs = {
        place: TextOutput(texts[index], "eos", input_tokens=0, output_tokens=0, truncated=False)
        for place, index in enumerate(indices)
    }
    return Tally(outputs)


def _record(run: Run, point: FrontPoint, scores: Sequence[QualityScore]) -> None:
    """Adds scores and the verdict to the manifest of a published variant, and writes its card again."""
    store, task = run.context.store, run.original.task
    verdict = confirmed_verdict(
        metric=run.judge.name,
        dataset=scores[0].dataset,
        limit=run.options.keep,
        retention=point.retention,
        interval=point.interval,
        is_confirmed=point.keeps,
    )
    manifest = store.manifest(task, point.variant)
    # Agreement with the original's own outputs is no quality, so that no score is recorded for it.
    if not run.data.is_agreement:
        add_scores(store, manifest, scores)
    store.update_manifest(manifest, lambda current: current.model_copy(update={"gate": verdict}))
    write_card(store.folder(task, point.variant), store.manifest(task, point.variant))
