"""Which runtime, and which of several artifacts, is the fastest here, as far as their manifests' measurements tell."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from slimseq.evaluation.host import are_alike
from slimseq.models_store.manifest import Performance


def fastest_runtime(measured: Sequence[Performance], possible: Sequence[str], cpu_flags: Sequence[str]) -> str:
    """Returns the runtime that made most tokens a second at the largest batch that those measured have in common.

    Args:
        measured: of one artifact.
        possible: runtimes that can open it, at least one, the preferred first.
        cpu_flags: of this machine: measurements of CPUs with others do not count.

    Returns:
        The preferred one where it was not measured, or not like others.
    """
    speeds = {
        name: {
            (each.batch, each.num_beams, each.threads): each.tokens_per_second
            for each in measured
            if each.runtime == name and are_alike(each.cpu_flags, cpu_flags)
        }
        for name in possible
    }
    known = [name for name in possible if speeds[name]]
    if possible[0] not in known:
        return possible[0]
    shared = set.intersection(*(set(speeds[name]) for name in known))
    if not shared:
        return possible[0]
    settings = max(shared)
    return max(known, key=lambda name: speeds[name][settings])


def speeds_on_one_machine(measured: Mapping[str, Sequence[Performance]], cpu_flags: Sequence[str]) -> dict[str, float]:
    """Returns tokens a second of artifacts that were measured alike: two machines' figures say nothing of each other.

    Of all machines, batches and threads, those that most of the artifacts were measured with count; among equals those
    of this kind of CPU, and then those of the largest batch.

    Args:
        measured: of each artifact, by name, each with its own beams.
        cpu_flags: of this machine.

    Returns:
        Speeds by name, without artifacts that were not measured so.
    """
    own = tuple(sorted(cpu_flags))
    alike: dict[tuple[bool, int, int, str, tuple[str, ...]], dict[str, float]] = defaultdict(dict)
    for name, found in measured.items():
        for each in found:
            flags = tuple(sorted(each.cpu_flags))
            speeds = alike[flags == own, each.batch, each.threads, each.host, flags]
            speeds[name] = max(speeds.get(name, 0.0), each.tokens_per_second)
    if not alike:
        return {}
    return alike[max(alike, key=lambda settings: (len(alike[settings]), settings))]
