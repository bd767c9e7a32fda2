"""The gate: what a variant must keep of its reference and save beside it, and whether it does."""

from collections.abc import Sequence

from slimseq.compression.errors import BadRecipe
from slimseq.compression.recipe import Gate
from slimseq.compression.report.facts import speed_ratio
from slimseq.evaluation.host import are_alike, cpu_flags, host_name
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.models_store.manifest import Check, Manifest, QualityScore, Verdict


def verdict_on(manifest: Manifest, reference: Manifest, gate: Gate) -> Verdict:
    """Applies a gate.

    Args:
        manifest: of the variant, with the scores and figures of this build.
        reference: of the root of its lineage.
        gate: the conditions.

    Returns:
        Every condition with its value; the verdict is `passed` where all hold.

    Raises:
        BadRecipe: a condition is about something that was not measured.
    """
    checks: list[Check] = []
    if gate.retention is not None:
        checks += [
            _check(f"retention of {score.metric} on {score.dataset}", score.retention or 0.0, gate.retention)
            for score in _scores(manifest, gate)
        ]
    if gate.smaller is not None:
        checks.append(_check("times smaller", reference.size.fp32_bytes / served_bytes(manifest), gate.smaller))
    if gate.faster is not None:
        checks.append(_check("times the tokens a second", _speed(manifest, reference), gate.faster))
    if gate.fewer_parameters is not None:
        removed = 1 - manifest.size.parameters / reference.size.parameters
        checks.append(_check("share of parameters removed", removed, gate.fewer_parameters))
    passed = all(check.is_passed for check in checks)
    return Verdict(status="passed" if passed else "rejected", checks=checks)


def served_bytes(manifest: Manifest) -> int:
    """Returns what an artifact's own weights take on disk, in the smallest format that it has."""
    return min(manifest.size.bytes_by_format.values())


def _scores(manifest: Manifest, gate: Gate) -> Sequence[QualityScore]:
    metric = gate.metric or PRIMARY_METRIC[manifest.task]
    scores = [
        score
        for score in manifest.quality
        if score.metric == metric and (not gate.test_sets or score.dataset in gate.test_sets)
    ]
    if not scores:
        raise BadRecipe(f"{manifest.variant}: its gate asks for {metric}, which no test set measures")
    return scores


def _speed(manifest: Manifest, reference: Manifest) -> float:
    """Divides speeds at the largest batch: on the variant's fastest runtime, by the reference's on that runtime.

    A manifest keeps the figures of every kind of machine. Those of this one count, where there are any.
    """
    if not manifest.performance or not reference.performance:
        raise BadRecipe(f"{manifest.variant}: its gate asks for speed, and the recipe measures none")
    own = [each for each in manifest.performance if each.host == host_name() and are_alike(each.cpu_flags, cpu_flags())]
    fastest = max(own or manifest.performance, key=lambda each: (each.batch, each.tokens_per_second))
    ratio = speed_ratio(fastest, manifest, reference)
    if ratio is None:
        raise BadRecipe(
            f"{manifest.variant}: its gate asks for speed, and its reference was measured in other settings"
        )
    return ratio


def _check(name: str, value: float, limit: float) -> Check:
    return Check(name=name, value=round(value, 4), limit=limit, is_passed=value >= limit)
