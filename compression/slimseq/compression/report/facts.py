"""The figures of a report, from the manifests of a store. All ratios are computed here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.compression.errors import BadData
from slimseq.evaluation.fastest import Setting, speed_ratio
from slimseq.evaluation.gate import times_smaller
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.record import least_agreement, least_retention, recorded_scores
from slimseq.models_store.derived import as_recorded
from slimseq.models_store.lineage import lineage_labels, reference_label, root_of, sort_key
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance, QualityScore
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class MeasuredSpeed:
    """One measurement of speed. `ratio` is tokens a second divided by the reference's in the same setting."""

    measured: Performance
    ratio: float | None

    @property
    def token_ms(self) -> float | None:
        """Median milliseconds of a batch, divided by the output tokens of one text."""
        return self.measured.p50_ms / self.measured.output_tokens if self.measured.output_tokens else None


@dataclass(frozen=True)
class VariantFacts:
    """One variant.

    Attributes:
        manifest: of the variant.
        reference: name of the root of its lineage, which ratios are relative to; a root's own name.
        lineage: the reference's name and the techniques after it.
        disk_bytes: bytes of its weights in its smallest format; None without weights.
        times_smaller: of its gate.
        speed: on its fastest runtime, in the setting that most variants of the task have, with the largest batch.
        least_retention: the score of the data set where it keeps least of its reference's quality.
        least_agreement: the score of the data set where its outputs are least similar to its reference's.
    """

    manifest: Manifest
    reference: str
    lineage: tuple[str, ...]
    disk_bytes: int | None
    times_smaller: float | None
    speed: MeasuredSpeed | None
    least_retention: QualityScore | None
    least_agreement: QualityScore | None

    @property
    def name(self) -> str:
        return self.manifest.variant


@dataclass(frozen=True)
class DatasetFacts:
    """The scores of one metric on one data set, each with the variant's name."""

    dataset: str
    split: str
    samples: int
    scores: list[tuple[str, QualityScore]]


@dataclass(frozen=True)
class TaskFacts:
    """One task: its variants, each root before its derived variants, its data sets and the common setting."""

    task: Task
    metric: str
    variants: tuple[VariantFacts, ...]
    datasets: tuple[DatasetFacts, ...]
    setting: Setting | None

    def references(self) -> list[str]:
        return list(dict.fromkeys(variant.reference for variant in self.variants))

    def reference_of(self, variant: str) -> str:
        return next(each.reference for each in self.variants if each.name == variant)


def facts_of(
    store: Store, tasks: Sequence[Task] = (), is_recorded: bool = False, metric: str | None = None
) -> list[TaskFacts]:
    entries = [entry for entry in store.scan() if not tasks or entry.task in tasks]
    for entry in entries:
        if entry.error is not None:
            raise entry.error
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]
    if is_recorded:
        recorded = as_recorded(store.root, manifests)
        manifests = sorted(recorded, key=lambda each: sort_key(each, recorded))
    found = [
        task_facts(task, chosen, metric or PRIMARY_METRIC[task])
        for task in Task
        if (chosen := [each for each in manifests if each.task is task])
    ]
    if not found:
        wanted = " or ".join(task.value for task in tasks) or "any task"
        raise BadData(f"there is nothing to report: {store.root} has no artifacts for {wanted}")
    return found


def task_facts(task: Task, manifests: Sequence[Manifest], metric: str) -> TaskFacts:
    counts = Counter(
        setting for each in manifests for setting in {Setting.of(speed, each) for speed in each.performance}
    )
    setting = min(counts, key=lambda setting: (-counts[setting], -setting.batch, setting), default=None)
    return TaskFacts(
        task=task,
        metric=metric,
        variants=tuple(_variant_facts(manifest, manifests, setting) for manifest in manifests),
        datasets=_datasets(manifests, metric),
        setting=setting,
    )


def _variant_facts(manifest: Manifest, manifests: Sequence[Manifest], setting: Setting | None) -> VariantFacts:
    root = root_of(manifest, manifests)
    speeds = tuple(MeasuredSpeed(each, speed_ratio(each, manifest, root)) for each in manifest.performance)
    return VariantFacts(
        manifest=manifest,
        reference=reference_label(manifest, manifests),
        lineage=lineage_labels(manifest, manifests),
        disk_bytes=min(manifest.size.bytes_by_format.values(), default=0) or None,
        times_smaller=times_smaller(manifest, root) if root is not None else None,
        speed=max(
            (each for each in speeds if Setting.of(each.measured, manifest) == setting),
            key=lambda each: each.measured.tokens_per_second,
            default=None,
        ),
        least_retention=least_retention(manifest, manifests),
        least_agreement=least_agreement(manifest, manifests),
    )


def _datasets(manifests: Sequence[Manifest], metric: str) -> tuple[DatasetFacts, ...]:
    found: dict[tuple[str, str, int], DatasetFacts] = {}
    for manifest in manifests:
        for score in recorded_scores(manifest, manifests):
            if score.metric == metric:
                key = score.dataset, score.split, score.samples
                found.setdefault(key, DatasetFacts(*key, scores=[])).scores.append((manifest.variant, score))
    return tuple(found.values())
