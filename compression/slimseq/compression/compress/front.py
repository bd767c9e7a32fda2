"""The front of a run: the candidates of which no other is better in both quality and speed (or size), and the choice.

`slimseq.evaluation.choice` tests on dev data which candidates keep the bar. This module measures all candidates, and
leaves a few of them, from the one with the most quality to the fastest or smallest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slimseq.compression.compress.candidate import Candidate, FrontPoint, served_bytes
from slimseq.compression.compress.measuring import measure_speeds
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.start.changed_options import SPEEDS
from slimseq.evaluation import choice as statistics
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import Performance

# Most variants of a front: what a reader can compare, and what a store should keep.
MAX_POINTS = 6
# Share of the whole time that timing all candidates may take.
SPEED_SHARE = 0.03


@dataclass(frozen=True)
class Front:
    """The front, from the most to the least quality, and the variant that was chosen."""

    front: tuple[FrontPoint, ...]
    chosen: str | None
    reason: str
    speeds: Mapping[str, Performance]
    """Measured speeds of the original and of all candidates, by variant."""


def choose_front(run: Run, candidates: Sequence[Candidate]) -> Front:
    """Measures candidates that were made, tests which ones keep the bar, and chooses one.

    Raises:
        CannotChoose: there are too few dev pairs, or the original scores nothing on them.
    """
    manifests = {each.name: run.store.manifest(run.original.task, each.name) for each in candidates}
    reference = run.statistics(run.original)
    scored = {name: run.statistics(manifest) for name, manifest in manifests.items()}
    speeds = _speeds(run, [run.original, *manifests.values()])
    sizes = {name: served_bytes(manifest) for name, manifest in manifests.items()}
    choice = statistics.choose(
        reference,
        [
            statistics.Candidate(name, scored[name], 1 / speeds[name].tokens_per_second, sizes[name])
            for name in manifests
        ],
        run.options.keep,
        run.options.aim,
        run.context.seed,
    )
    titles = {each.name: each.title for each in candidates}
    base = speeds[run.original.variant].tokens_per_second
    points = [
        FrontPoint(
            variant=found.name,
            title=titles[found.name],
            bytes=sizes[found.name],
            tokens_per_second=round(speeds[found.name].tokens_per_second, 1),
            speed_up=round(speeds[found.name].tokens_per_second / base, 3),
            retention=round(found.confirming, 4),
            interval=(round(found.interval[0], 4), round(found.interval[1], 4)),
            lower_bound=round(found.lower_bound, 4),
            keeps=_keeps(found, run.options.keep),
        )
        for found in choice.results
    ]
    front = [replace(each, is_chosen=each.variant == choice.chosen) for each in best_points(points, choice.chosen)]
    return Front(tuple(front), choice.chosen, choice.reason, speeds)


def _keeps(found: statistics.CandidateResult, keep: float) -> bool:
    """Whether the confirming half shows that a candidate keeps the bar.

    The choice tests no candidate that it could not choose. For the verdict on such a one, its bound counts alone.
    """
    if found.status is statistics.Status.UNTESTED:
        return found.lower_bound >= keep
    return found.status is statistics.Status.CONFIRMED


def best_points(points: Sequence[FrontPoint], chosen: str | None) -> list[FrontPoint]:
    """Returns the points of the front, from the most to the least retention: at most `MAX_POINTS`.

    A point is left out if another one has at least its retention and speed, and at most its size. The chosen one always
    stays. Where too many are left, of two neighbours that are nearly as fast the one with less retention goes.
    """
    kept = [
        point for point in points if point.variant == chosen or not any(_is_better(other, point) for other in points)
    ]
    kept.sort(key=lambda point: (-point.retention, -point.speed_up))
    while len(kept) > MAX_POINTS:
        # The first one is the best in quality, the last one the fastest.
        inner = [point for point in kept[1:-1] if point.variant != chosen]
        closest = min(inner, key=lambda point: abs(point.speed_up - kept[kept.index(point) - 1].speed_up))
        kept.remove(closest)
    return kept


def _is_better(other: FrontPoint, point: FrontPoint) -> bool:
    """Whether a point is as good as another one in everything, and better in something."""
    own = (point.retention, point.tokens_per_second, -point.bytes)
    others = (other.retention, other.tokens_per_second, -other.bytes)
    return others != own and all(theirs >= ours for theirs, ours in zip(others, own, strict=True))


def _speeds(run: Run, manifests: Sequence[Manifest]) -> dict[str, Performance]:
    """Times the original and all candidates in one run, or returns what the run's folder has of it."""
    seconds = SPEED_SHARE * run.plan.within
    record = run.folder.find_or_make(
        SPEEDS,
        lambda: {
            name: speed.model_dump(mode="json")
            for name, speed in measure_speeds(
                run.own_context, run.store, manifests, run.choosing, run.original.variant, seconds
            ).items()
        },
    )
    return {name: Performance.model_validate(value) for name, value in record.items()}
