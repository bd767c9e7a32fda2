"""How many times as fast as its base model a variant is: the one rule behind every speed-up that is shown.

A speed-up divides two figures of one run on one machine: output tokens a second of a variant and of its base model, on
the same runtime, with the same batch and threads. Figures of two runs are never divided, even if their settings are
equal: machines of one name differ, and so do two hours of one machine. A measurement of
`slimseq.evaluation.benchmark` has the base model's figure beside it. For older measurements, the base model's figure is
in the base model's manifest, with the same date.

The page, the reports, the gates and the API all take their figures from this module. `slimseq.evaluation.fastest`
selects the variant and the runtime that serve.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slimseq.evaluation.host import VNNI_FLAGS, cpu_flags, have_same_flags, host_name
from slimseq.models_store.lineage import root_of
from slimseq.models_store.manifest import Manifest
from slimseq.models_store.measurements import Performance

# What this machine measured, by the digest of the artifact.
LocalSpeeds = Mapping[str, Sequence[Performance]]


@dataclass(frozen=True, order=True)
class Setting:
    """The machine and the work of a measurement. Only measurements of one setting can be compared.

    `num_beams` is 0 if each variant uses its own default.
    """

    batch: int
    num_beams: int
    threads: int
    host: str
    cpu_flags: tuple[str, ...]

    @classmethod
    def of(cls, performance: Performance, manifest: Manifest) -> "Setting":
        beams = 0 if performance.num_beams == manifest.generation.num_beams else performance.num_beams
        flags = tuple(sorted(performance.cpu_flags))
        return cls(performance.batch, beams, performance.threads, performance.host, flags)

    @cached_property
    def is_here(self) -> bool:
        """Whether the machine is like this one: the same CPU, the same instructions, the same number of cores."""
        return self.host == host_name() and have_same_flags(self.cpu_flags, cpu_flags())

    @property
    def machine(self) -> str:
        """The machine in words. Two CPUs of one name are told apart by their int8 instructions."""
        flags = ", ".join(sorted(VNNI_FLAGS.intersection(self.cpu_flags)))
        return f"{self.host} ({flags})" if flags else self.host

    def words(self) -> str:
        beams = counted(self.num_beams, "beam") if self.num_beams else "each variant's own beams"
        return f"batch {self.batch}, {beams}, {counted(self.threads, 'thread')}, {self.machine}"


@dataclass(frozen=True)
class MeasuredSpeed:
    """A measurement of a variant's speed, and the speed of its base model in the same run.

    Attributes:
        measured: the measurement of the variant.
        setting: the setting of both measurements.
        base_tokens_per_second: the base model's figure on the same runtime. None if the run did not measure it.
    """

    measured: Performance
    setting: Setting
    base_tokens_per_second: float | None

    @property
    def speed_up(self) -> float | None:
        if not self.base_tokens_per_second:
            return None
        return self.measured.tokens_per_second / self.base_tokens_per_second

    @property
    def token_ms(self) -> float | None:
        """Median milliseconds of a batch, divided by the output tokens of one text."""
        return self.measured.p50_ms / self.measured.output_tokens if self.measured.output_tokens else None


@dataclass(frozen=True)
class CommonSpeeds:
    """The speeds of several variants in the setting that most of them share, by the variant's name."""

    setting: Setting | None
    speeds: dict[str, MeasuredSpeed]


def measurements_of(manifest: Manifest, local: LocalSpeeds | None = None) -> list[Performance]:
    """Returns the measurements in a variant's manifest, and those that this machine made with the variant's beams."""
    own = (local or {}).get(manifest.digest, ())
    return [*manifest.performance, *(each for each in own if each.num_beams == manifest.generation.num_beams)]


def speed_of(measured: Performance, manifest: Manifest, root: Manifest | None) -> MeasuredSpeed:
    """Joins a measurement of a variant with the measurement of its base model in the same run."""
    return MeasuredSpeed(measured, Setting.of(measured, manifest), _base_tokens_per_second(measured, root))


def common_speeds(
    manifests: Sequence[Manifest], local: LocalSpeeds | None = None, *, prefers_here: bool = True
) -> CommonSpeeds:
    """Returns the speed of each variant in the setting that most variants share, each on its fastest runtime.

    The setting in which most variants have a speed-up comes first, then settings of this machine, then the largest
    batch. A variant that was not measured in the selected setting has no speed. Without `prefers_here` the result is
    the same on every machine.
    """
    found = {each.variant: _speeds(each, root_of(each, manifests), local) for each in manifests}
    # The number of variants that have a speed in a setting, and a speed-up in it.
    with_speed: Counter[Setting] = Counter()
    with_speed_up: Counter[Setting] = Counter()
    for speeds in found.values():
        with_speed.update({each.setting for each in speeds})
        with_speed_up.update({each.setting for each in speeds if each.speed_up is not None})
    if not with_speed:
        return CommonSpeeds(None, {})

    def order(setting: Setting) -> tuple[int, int, bool, int, Setting]:
        is_preferred = prefers_here and setting.is_here
        return -with_speed_up[setting], -with_speed[setting], not is_preferred, -setting.batch, setting

    setting = min(with_speed, key=order)
    chosen: dict[str, MeasuredSpeed] = {}
    for name, rows in found.items():
        fastest = _fastest([each for each in rows if each.setting == setting])
        if fastest is not None:
            chosen[name] = fastest
    return CommonSpeeds(setting, chosen)


def speed_up_for_gate(manifest: Manifest, root: Manifest) -> MeasuredSpeed | None:
    """Returns the speed that a gate judges: with a speed-up, of this machine if possible, at the largest batch.

    None if no run measured the variant together with its base model.
    """
    paired = [each for each in _speeds(manifest, root) if each.speed_up is not None]
    return max(
        paired,
        key=lambda each: (each.setting.is_here, each.measured.batch, each.measured.tokens_per_second),
        default=None,
    )


def _speeds(manifest: Manifest, root: Manifest | None, local: LocalSpeeds | None = None) -> list[MeasuredSpeed]:
    return [speed_of(each, manifest, root) for each in measurements_of(manifest, local)]


def _fastest(speeds: Sequence[MeasuredSpeed]) -> MeasuredSpeed | None:
    """Returns the fastest measurement. If some measurements have a speed-up, only these count."""
    return max(speeds, key=lambda each: (each.speed_up is not None, each.measured.tokens_per_second), default=None)


def _base_tokens_per_second(measured: Performance, root: Manifest | None) -> float | None:
    if root is None:
        return None
    if measured.reference is not None:
        return measured.reference_tokens_per_second if measured.reference == root.digest else None
    same_run = [each for each in root.performance if _run(each) == _run(measured)]
    return same_run[0].tokens_per_second if same_run else None


def _run(measured: Performance) -> tuple[str, str, tuple[str, ...], str, int, int]:
    flags = tuple(sorted(measured.cpu_flags))
    return measured.measured_at, measured.host, flags, measured.runtime, measured.batch, measured.threads


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
