"""CPUs of a cluster: how many engines it has work for, and how many CPUs Ray reserves for each of them."""

from collections.abc import Sequence

import ray

from slimseq.evaluation.bulk.workers import WorkerFailed

# CPUs that Ray reserves for a thread of an engine. The other half of the cluster is for reading and writing, which take
# little, and for the engines of nodes that die: with all CPUs reserved, their rows would wait for a new node.
ENGINE_CPUS = 0.5
TASK_CPUS = 0.25
# What Ray reserves when a job goes on, on one node: for its filter, which leaves out rows that are done.
FILTER_CPUS = 1.0
# The fewest CPUs of the largest node. With fewer, there is no room for the filter beside an engine.
LEAST_CPUS = 2


def cores_of_nodes() -> list[int]:
    """Returns the number of CPUs of each node that lives."""
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def default_workers(cores: Sequence[int], threads: int) -> int:
    """Returns as many engines as the cores of all nodes have work for."""
    return max(sum(each // threads for each in cores), 1)


def engine_cpus(cores: Sequence[int], engines: int, threads: int) -> float:
    """Returns how many CPUs Ray reserves for an engine.

    The filter and two tasks must find room beside all engines: a job whose tasks wait for CPUs never ends.

    Args:
        cores: number of CPUs of each node.
        engines: number of engines.
        threads: of an engine.

    Raises:
        WorkerFailed: no node has two CPUs.
    """
    if max(cores, default=0) < LEAST_CPUS:
        raise WorkerFailed(f"--on ray needs a node with at least {LEAST_CPUS} CPUs")
    free = sum(cores) - FILTER_CPUS - 2 * TASK_CPUS
    return min(ENGINE_CPUS * threads, free / engines)
