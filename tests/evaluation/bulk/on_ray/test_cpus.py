"""How many CPUs Ray reserves for an engine: so many that the filter of a job that goes on finds room beside them."""

import pytest

pytest.importorskip("ray.data", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from slimseq.evaluation.bulk.on_ray.cpus import FILTER_CPUS, TASK_CPUS, engine_cpus
from slimseq.evaluation.bulk.workers import WorkerFailed


@pytest.mark.parametrize(
    ("cores", "engines", "threads", "expected"),
    [([2, 2], 4, 1, 0.5), ([64] * 4, 256, 1, 0.5), ([8], 2, 4, 2.0), ([2], 2, 1, 0.25), ([2], 4, 1, 0.125)],
)
def test_an_engine_gets_half_of_its_threads_unless_the_cluster_is_too_small(
    cores: list[int], engines: int, threads: int, expected: float
) -> None:
    found = engine_cpus(cores, engines, threads)

    assert found == expected
    assert engines * found + FILTER_CPUS + TASK_CPUS <= sum(cores)


@pytest.mark.parametrize("cores", [[], [1], [1, 1, 1]])
def test_a_cluster_of_single_cpus_is_refused(cores: list[int]) -> None:
    with pytest.raises(WorkerFailed, match="a node with at least 2 CPUs"):
        engine_cpus(cores, 1, 1)
