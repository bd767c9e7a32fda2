"""Selects the variant that is best within the limits of a request, such as `min_retention` and `max_latency_ms`.

`slimseq.app.serving.selection.chooser` asks for it if a request names limits in place of a variant. Only variants with
the same reference are compared: a retention is a share of the reference's quality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slimseq.app.errors import NoVariantFits
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.selection.language_pairs import Pair, serves
from slimseq.evaluation.fastest import fastest_of, latencies_on_one_machine, speeds_on_one_machine
from slimseq.evaluation.retention import headline_metric, retention_of
from slimseq.evaluation.speed_up import counted, measurements_of
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.lineage import group_by_root, reference_of
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance

# Limits by the name of their query parameter.
Limits = Mapping[str, float]

# Why a variant without a value cannot be within a limit.
UNMEASURED = {
    "min_retention": "its retention was not measured",
    "max_latency_ms": "its latency was not measured beside that of the others",
    "max_bytes": "its size is unknown",
}
UNTIMED = "its speed was not measured beside that of the others"


@dataclass(frozen=True)
class Candidate:
    """A variant that limits may select.

    Args:
        runtime: name of the runtime that would open it.
        measured: its measurements with that runtime.
        retention: share of the reference's quality that it keeps. None if nobody measured it, as below.
        latency_ms: median latency of one text, on a machine that measured other candidates too.
        bytes: size on disk of the format that the runtime opens.
    """

    manifest: Manifest
    runtime: str
    measured: Sequence[Performance]
    retention: float | None
    latency_ms: float | None
    bytes: int | None

    @property
    def name(self) -> str:
        return self.manifest.variant

    @property
    def known_retention(self) -> float:
        """The retention, 0 if nobody measured it."""
        return self.retention or 0.0

    def missing_values(self, limits: Limits) -> list[str]:
        """Returns which values nobody measured that the limits need. A candidate without them is not selected."""
        values = {"min_retention": self.retention, "max_latency_ms": self.latency_ms, "max_bytes": self.bytes}
        return [UNMEASURED[limit] for limit in limits if values[limit] is None]

    def is_within(self, limits: Limits) -> bool:
        """Whether the candidate is within all limits. A value that nobody measured is not."""
        if "min_retention" in limits and self.known_retention < limits["min_retention"]:
            return False
        if "max_latency_ms" in limits and not _is_at_most(self.latency_ms, limits["max_latency_ms"]):
            return False
        return "max_bytes" not in limits or _is_at_most(self.bytes, limits["max_bytes"])

    def __str__(self) -> str:
        retention = "unmeasured retention" if self.retention is None else f"retention {self.retention:.4f}"
        latency = "unmeasured latency" if self.latency_ms is None else f"{self.latency_ms:.1f} ms"
        size = "unknown size" if self.bytes is None else f"{self.bytes:,} bytes"
        return f"{self.name} with {retention}, {latency}, {size}"


def _is_at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


@dataclass(frozen=True)
class LimitSelector:
    """Selects variants within limits. `defaults` says which variants there are, and which one answers by default."""

    defaults: Defaults

    def select(self, task: Task, limits: Limits, runtime: str | None, pair: Pair | None) -> tuple[Manifest, str]:
        """Returns the best variant of a pair within limits, and the reason for it.

        With a minimum retention, the best variant is the fastest. Else it is the variant that keeps most of the
        quality, and the fastest among equal ones. `runtime` is the runtime that the request names.

        Raises:
            NoVariantFits: no variant is within the limits.
        """
        candidates = self._candidates(task, self._comparable(task, pair), runtime)
        fitting = [each for each in candidates if each.is_within(limits)]
        limits_in_words = " and ".join(f"{name} {_in_words(value)}" for name, value in limits.items())
        if not fitting:
            found = "; ".join(map(str, candidates)) or "no measured one"
            raise NoVariantFits(task.value, limits_in_words, found)

        if "min_retention" in limits:
            selected, criterion, untimed = _fastest(fitting)
        else:
            highest = max(each.known_retention for each in fitting)
            selected, _, untimed = _fastest([each for each in fitting if each.known_retention == highest])
            criterion = "best retention"

        others_untimed = [name for name in untimed if name != selected.name]
        left_out = _left_out(limits, candidates, others_untimed)
        count = counted(len(fitting), "variant")
        return selected.manifest, f"{criterion} of {count} within {limits_in_words}: {selected}{left_out}"

    def left_out(self, task: Task) -> dict[str, str]:
        """Returns the variants that limits such as `min_retention` cannot compare or select, each with the reason."""
        reasons: dict[str, str] = {}
        for group in group_by_root(self.defaults.catalogue.manifests(task)):
            candidates = {each.name: each for each in self._candidates(task, group, None)}
            speeds = speeds_on_one_machine({name: each.measured for name, each in candidates.items()})
            for manifest in group:
                candidate = candidates.get(manifest.variant)
                if manifest.is_rejected:
                    reasons[manifest.variant] = "its gate rejected it"
                elif candidate is None:
                    reasons[manifest.variant] = "it cannot be loaded here"
                elif candidate.retention is None:
                    reasons[manifest.variant] = UNMEASURED["min_retention"]
                elif len(candidates) > 1 and manifest.variant not in speeds:
                    reasons[manifest.variant] = UNTIMED
        return reasons

    def _candidates(self, task: Task, group: Sequence[Manifest], runtime: str | None) -> list[Candidate]:
        """Returns the variants of one base model that can be opened here, each with its runtime and its figures."""
        catalogue = self.defaults.catalogue
        runtimes = [(each, self._runtime_of(each, runtime)) for each in group]
        servable = [(each, name) for each, name in runtimes if name is not None]
        local_speeds = catalogue.speeds(task)
        measured = {
            each.variant: [row for row in measurements_of(each, local_speeds) if row.runtime == name]
            for each, name in servable
        }
        latencies = latencies_on_one_machine(measured)
        metric = headline_metric(group) if group else ""
        return [
            Candidate(
                manifest=each,
                runtime=name,
                measured=measured[each.variant],
                retention=retention_of(each, group, metric),
                latency_ms=latencies.get(each.variant),
                bytes=catalogue.bytes_of(task, each.variant, runtime_named(name).format),
            )
            for each, name in servable
        ]

    def _comparable(self, task: Task, pair: Pair | None) -> list[Manifest]:
        """Returns the variants of a pair with the same reference as its default. Others are not comparable."""
        manifests = self.defaults.catalogue.manifests(task)
        of_pair = [each for each in manifests if pair is None or serves(each, pair)]
        if not of_pair:
            return []
        name = self.defaults.find(task, pair)
        default = next((each for each in of_pair if each.variant == name), of_pair[0])
        digest = reference_of(default, manifests).digest
        return [each for each in of_pair if reference_of(each, manifests).digest == digest]

    def _runtime_of(self, manifest: Manifest, runtime: str | None) -> str | None:
        """Returns the name of the runtime of a variant, None if the variant cannot be selected."""
        if manifest.is_rejected or self.defaults.last_error(manifest.task, manifest.variant) is not None:
            return None
        try:
            return self.defaults.catalogue.runtime(manifest.task, manifest.variant, runtime)
        except SlimseqError:
            return None


class _Fastest(NamedTuple):
    """The fastest of some candidates, why it is the first, and the names of those whose speed cannot be compared."""

    candidate: Candidate
    criterion: str
    untimed: Sequence[str]


def _fastest(candidates: Sequence[Candidate]) -> _Fastest:
    """Returns the fastest candidate. Without comparable speeds, it is the smallest."""
    measured = {each.name: each.measured for each in candidates}
    chosen, untimed = fastest_of([each.manifest for each in candidates], measured)
    criterion = "fastest"
    if len(candidates) > 1 and chosen.variant in untimed:
        criterion = "smallest, since no speed was measured,"
    candidate = next(each for each in candidates if each.name == chosen.variant)
    return _Fastest(candidate, criterion, untimed)


def _left_out(limits: Limits, candidates: Sequence[Candidate], untimed: Sequence[str]) -> str:
    """Names the variants that could not be compared with the selected one, each with the reasons."""
    words = []
    for candidate in candidates:
        reasons = candidate.missing_values(limits)
        if candidate.name in untimed:
            reasons.append(UNTIMED)
        if reasons:
            words.append(f"; left out: {candidate.name} ({' and '.join(reasons)})")
    return "".join(words)


def _in_words(value: float) -> str:
    return str(value) if isinstance(value, int) else format(value, "g")
