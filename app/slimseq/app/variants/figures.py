"""The figures of a task's variants: speed, retention, size, and what is published of them.

All are computed by the rules of `slimseq.evaluation`, which the reports use too. So a figure that the page or the API
shows is the one of the documentation's tables, or says where it is from.
`slimseq.app.variants.inventory` puts them into responses.
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

NO_PAIR = "No run measured it beside its base model on the same runtime."


@dataclass(frozen=True)
class Figures:
    """The figures by the name of the variant. A variant of which nothing is known is absent."""

    speeds: Mapping[str, Speed]
    retentions: Mapping[str, Retention]
    weights: Mapping[str, Weights]
    published: Mapping[str, Published]

    @classmethod
    def of(cls, manifests: Sequence[Manifest], local: LocalSpeeds, recorded: Sequence[Manifest]) -> "Figures":
        """Computes the figures of what the store holds, and those that its record publishes.

        `local` is what this machine measured. `recorded` has the manifests that stand for the variants in the
        documentation's tables: of other bytes than those of the store, where a CPU makes other ones.

        The speeds of a base model's variants are those of this machine if it measured them, else the published ones.
        """
        digests = {each.variant: each.digest for each in manifests}
        recorded_speeds = _speeds(recorded, {}, prefers_here=False)
        of_these_files = {
            each.variant: recorded_speeds[each.variant]
            for each in recorded
            if each.variant in recorded_speeds and each.digest == digests.get(each.variant)
        }
        speeds: dict[str, Speed] = {}
        for group in group_by_root(manifests):
            found = _speeds(group, local, prefers_here=True)
            is_here = any(each.is_here for each in found.values())
            names = {each.variant for each in group}
            speeds |= found if is_here else {name: each for name, each in of_these_files.items() if name in names}
        retentions, recorded_retentions = _retentions(manifests), _retentions(recorded)
        published: dict[str, Published] = {}
        for each in recorded:
            name = each.variant
            speed, retention = recorded_speeds.get(name), recorded_retentions.get(name)
            if name not in digests or (speed is None and retention is None):
                continue
            is_same = each.digest == digests[name]
            # What is the same stands in one place.
            if is_same and (speed, retention) == (speeds.get(name), retentions.get(name)):
                continue
            published[name] = Published(digest=each.digest, is_same=is_same, retention=retention, speed=speed)
        return cls(speeds, retentions, _weights(manifests), published)


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
        no_speed_up=None if found.speed_up is not None else NO_PAIR,
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
