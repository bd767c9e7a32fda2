"""The figures of a task's variants: speed, retention, weights, and the published figures where they differ.

The rules of `slimseq.evaluation` compute all figures, as they do for the reports. So a figure that the page or the API
shows equals the one in the documentation's tables, or says where it is from.
`slimseq.app.variants.inventory` puts the figures into responses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimseq.answers import Retention
from slimseq.app.variants.schemas import Published, Speed, Weights
from slimseq.evaluation.gate import baseline_warning, times_smaller
from slimseq.evaluation.retention import headline_metric, least_retention
from slimseq.evaluation.speed_up import LocalSpeeds, MeasuredSpeed, common_speeds
from slimseq.models_store.lineage import group_by_root, is_root, label_of, reference_of, root_of
from slimseq.models_store.manifest import Manifest

NO_SPEED_UP = "No run measured it beside its base model on the same runtime."


@dataclass(frozen=True)
class Figures:
    """The figures, by the name of the variant. A variant without a figure is absent from its mapping."""

    speeds: Mapping[str, Speed]
    retentions: Mapping[str, Retention]
    weights: Mapping[str, Weights]
    published: Mapping[str, Published]

    @classmethod
    def of(cls, manifests: Sequence[Manifest], local: LocalSpeeds, recorded: Sequence[Manifest]) -> "Figures":
        """Computes the figures of a task.

        Args:
            manifests: what the store holds.
            local: the speeds that this machine measured.
            recorded: the manifests behind the documentation's tables. Where the CPU of this machine makes other
                artifacts, their digests differ from those of `manifests`.
        """
        recorded_speeds = _speeds(recorded, {}, prefers_here=False)
        speeds = _speeds_to_show(manifests, local, recorded, recorded_speeds)
        retentions = _retentions(manifests)
        recorded_retentions = _retentions(recorded)
        digests = {manifest.variant: manifest.digest for manifest in manifests}
        published: dict[str, Published] = {}
        for manifest in recorded:
            name = manifest.variant
            speed = recorded_speeds.get(name)
            retention = recorded_retentions.get(name)
            if name not in digests or (speed is None and retention is None):
                continue
            is_same = manifest.digest == digests[name]
            # Figures that equal the published ones are not shown twice.
            if is_same and (speed, retention) == (speeds.get(name), retentions.get(name)):
                continue
            published[name] = Published(digest=manifest.digest, is_same=is_same, retention=retention, speed=speed)
        return cls(speeds, retentions, _weights(manifests), published)


def _speeds_to_show(
    manifests: Sequence[Manifest],
    local: LocalSpeeds,
    recorded: Sequence[Manifest],
    recorded_speeds: Mapping[str, Speed],
) -> dict[str, Speed]:
    """Returns a speed for each variant: all variants of one base model are compared on one machine.

    It is this machine if it measured any of them, else the machine of the record. A recorded speed counts for a variant
    only if the artifact has the same files.
    """
    digests = {manifest.variant: manifest.digest for manifest in manifests}
    speeds_of_same_files = {
        manifest.variant: recorded_speeds[manifest.variant]
        for manifest in recorded
        if manifest.variant in recorded_speeds and manifest.digest == digests.get(manifest.variant)
    }
    speeds: dict[str, Speed] = {}
    for group in group_by_root(manifests):
        own_speeds = _speeds(group, local, prefers_here=True)
        if any(speed.is_here for speed in own_speeds.values()):
            speeds |= own_speeds
            continue
        names = {manifest.variant for manifest in group}
        speeds |= {name: speed for name, speed in speeds_of_same_files.items() if name in names}
    return speeds


def _speeds(manifests: Sequence[Manifest], local: LocalSpeeds, *, prefers_here: bool) -> dict[str, Speed]:
    found: dict[str, Speed] = {}
    for group in group_by_root(manifests):
        common = common_speeds(group, local, prefers_here=prefers_here)
        for name, speed in common.speeds.items():
            found[name] = _speed(speed)
    return found


def _speed(found: MeasuredSpeed) -> Speed:
    return Speed(
        **found.measured.model_dump(include=set(Speed.model_fields)),
        speed_up=found.speed_up,
        base_tokens_per_second=found.base_tokens_per_second,
        no_speed_up=None if found.speed_up is not None else NO_SPEED_UP,
        machine=found.setting.machine,
        is_here=found.setting.is_here,
        is_rough=found.measured.is_rough,
    )


def _retentions(manifests: Sequence[Manifest]) -> dict[str, Retention]:
    found: dict[str, Retention] = {}
    for group in group_by_root(manifests):
        metric = headline_metric(group)
        for manifest in group:
            retention = _retention(manifest, group, metric)
            if retention is not None:
                found[manifest.variant] = retention
    return found


def _retention(manifest: Manifest, group: Sequence[Manifest], metric: str) -> Retention | None:
    """Returns the least retention of a variant over all test sets. A base model (a root) has 1 by definition."""
    score = least_retention(manifest, group, metric)
    base = label_of(reference_of(manifest, group))
    warning = None
    if score is not None:
        warning = baseline_warning(manifest.task, base, score, is_base=is_root(manifest))
    if is_root(manifest):
        return Retention(metric=metric, value=1.0, interval=(1.0, 1.0), dataset=None, warning=warning)
    if score is None or score.retention is None:
        return None
    return Retention(
        metric=metric,
        value=score.retention,
        interval=score.retention_interval,
        dataset=score.dataset,
        split=score.split,
        samples=score.samples,
        warning=warning,
    )


def _weights(manifests: Sequence[Manifest]) -> dict[str, Weights]:
    found: dict[str, Weights] = {}
    for manifest in manifests:
        sizes = manifest.size.bytes_by_format
        if not sizes:
            continue
        root = root_of(manifest, manifests)
        smallest = min(sizes, key=lambda name: sizes[name])
        ratio = times_smaller(manifest, root) if root is not None else None
        found[manifest.variant] = Weights(format=smallest, bytes=sizes[smallest], times_smaller=ratio or None)
    return found
