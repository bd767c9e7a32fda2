"""The figures of a report, from the manifests of a store, by the same rules as those of the service."""

from collections.abc import Sequence
from dataclasses import dataclass

from slimseq.compression.errors import BadData
from slimseq.evaluation.gate import times_smaller
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.retention import (
    headline_metric,
    least_agreement,
    least_retention,
    recorded_scores,
    reference_value,
)
from slimseq.evaluation.speed_up import CommonSpeeds, LocalSpeeds, MeasuredSpeed, Setting, common_speeds
from slimseq.models_store.derived import as_recorded
from slimseq.models_store.lineage import (
    group_by_root,
    is_root,
    lineage_labels,
    reference_label,
    root_of,
    sort_key,
)
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import QualityScore
from slimseq.models_store.speeds import read_speeds
from slimseq.models_store.store import Store

# The smallest difference between two scores that a reader sees: scores are shown with two decimals.
SHOWN_DIFFERENCE = 0.01


@dataclass(frozen=True)
class VariantFacts:
    """One variant.

    Attributes:
        manifest: of the variant.
        lineage: the reference's name and the techniques after it.
        disk_bytes: bytes of its weights in its smallest format; None without weights.
        times_smaller: of its gate.
        speed: on its fastest runtime, in the setting that most variants of the root have, with the largest batch.
        least_retention: the score of the test set where it keeps least of its reference's quality.
        least_agreement: the score of the test set where its outputs are least similar to its reference's.
    """

    manifest: Manifest
    lineage: tuple[str, ...]
    disk_bytes: int | None
    times_smaller: float | None
    speed: MeasuredSpeed | None
    least_retention: QualityScore | None
    least_agreement: QualityScore | None

    @property
    def name(self) -> str:
        return self.manifest.variant

    @property
    def is_root(self) -> bool:
        return is_root(self.manifest)


@dataclass(frozen=True)
class DatasetFacts:
    """The scores of one metric on the same texts with the same prompt, each with the variant's name."""

    dataset: str
    split: str
    samples: int
    prompt: str
    metric: str
    scores: list[tuple[str, QualityScore]]

    def reference_value(self, name: str, root: str) -> float | None:
        """Returns the reference's score in the run of a variant, if it differs from the score in the reference's row.

        A retention compares two scores of one run. The reference's row may be from another run, on another kind of CPU.
        Returns None if both scores look the same.
        """
        scores = dict(self.scores)
        of_run = reference_value(scores[name])
        shown = scores[root].value if root in scores else None
        if of_run is None or name == root:
            return None
        is_shown = shown is not None and abs(of_run - shown) < SHOWN_DIFFERENCE
        return None if is_shown else of_run


@dataclass(frozen=True)
class RootFacts:
    """One root of a task and the variants that derive from it, the root first, and the setting of their speeds.

    `metric` is that of the retention which stands for a variant.
    """

    task: Task
    reference: str
    metric: str
    variants: tuple[VariantFacts, ...]
    datasets: tuple[DatasetFacts, ...]
    setting: Setting | None


def facts_of(
    store: Store, tasks: Sequence[Task] = (), is_recorded: bool = False, metric: str | None = None
) -> list[RootFacts]:
    """Returns the facts of each root.

    With `is_recorded` they are of the bytes that the store records, and the same on every machine. Otherwise they are
    of what is built here, with what this machine measured.
    """
    entries = [entry for entry in store.scan() if not tasks or entry.task in tasks]
    for entry in entries:
        if entry.error is not None:
            raise entry.error
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]
    if is_recorded:
        recorded = as_recorded(store.root, manifests)
        manifests = sorted(recorded, key=lambda each: sort_key(each, recorded))
    found = []
    for task in Task:
        local = {} if is_recorded else read_speeds(store.root, task)
        groups = group_by_root([each for each in manifests if each.task is task])
        found += [_root_facts(task, group, metric, local, prefers_here=not is_recorded) for group in groups]
    if not found:
        wanted = " or ".join(task.value for task in tasks) or "any task"
        raise BadData(f"there is nothing to report: {store.root} has no artifacts for {wanted}")
    return found


def _root_facts(
    task: Task, group: Sequence[Manifest], metric: str | None, local: LocalSpeeds, *, prefers_here: bool
) -> RootFacts:
    speeds = common_speeds(group, local, prefers_here=prefers_here)
    headline = metric or headline_metric(group)
    # By default, the tables have the task's primary metric, and the one that stands for a variant if it is another.
    metrics = [metric] if metric is not None else list(dict.fromkeys([PRIMARY_METRIC[task], headline]))
    return RootFacts(
        task=task,
        reference=reference_label(group[0], group),
        metric=headline,
        variants=tuple(_variant_facts(manifest, group, speeds, headline) for manifest in group),
        datasets=tuple(dataset for name in metrics for dataset in _datasets(group, name)),
        setting=speeds.setting,
    )


def _variant_facts(manifest: Manifest, group: Sequence[Manifest], speeds: CommonSpeeds, metric: str) -> VariantFacts:
    root = root_of(manifest, group)
    return VariantFacts(
        manifest=manifest,
        lineage=lineage_labels(manifest, group),
        disk_bytes=min(manifest.size.bytes_by_format.values(), default=0) or None,
        times_smaller=times_smaller(manifest, root) if root is not None else None,
        speed=speeds.speeds.get(manifest.variant),
        least_retention=least_retention(manifest, group, metric),
        least_agreement=least_agreement(manifest, group),
    )


def _datasets(manifests: Sequence[Manifest], metric: str) -> list[DatasetFacts]:
    found: dict[tuple[str, str, int, str], DatasetFacts] = {}
    for manifest in manifests:
        for score in recorded_scores(manifest, manifests):
            if score.metric == metric:
                key = score.dataset, score.split, score.samples, str(score.generation.get("prefix", ""))
                found.setdefault(key, DatasetFacts(*key, metric, scores=[])).scores.append((manifest.variant, score))
    return list(found.values())
