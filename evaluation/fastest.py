"""Which runtime is the fastest for an artifact on this machine, as far as its manifest's measurements tell."""

from collections.abc import Sequence

from models_store.manifest import Performance


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
            if each.runtime == name and sorted(each.cpu_flags) == sorted(cpu_flags)
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
