"""What a manifest's measurements of speed say about this machine."""

from collections.abc import Sequence

from models_store.manifest import Performance


def fastest_runtime(measured: Sequence[Performance], possible: Sequence[str], cpu_flags: Sequence[str]) -> str:
    """Returns the runtime that made most tokens a second at the largest batch that all were measured with.

    Args:
        measured: of one artifact.
        possible: runtimes that can open it, at least one, the preferred first.
        cpu_flags: of this machine: measurements of CPUs with others do not count.

    Returns:
        The first where not all were measured alike.
    """
    speeds = {
        name: {
            (each.batch, each.num_beams, each.threads): each.tokens_per_second
            for each in measured
            if each.runtime == name and sorted(each.cpu_flags) == sorted(cpu_flags)
        }
        for name in possible
    }
    shared = set.intersection(*(set(found) for found in speeds.values()))
    if not shared:
        return possible[0]
    settings = max(shared)
    return max(possible, key=lambda name: speeds[name][settings])
