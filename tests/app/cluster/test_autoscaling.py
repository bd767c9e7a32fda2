from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from slimseq.app.cluster.autoscaling import TokensPolicy


def context(tokens: list[float], running: float, queued: float | None) -> Any:
    metrics = {"pending_tokens": dict(enumerate(tokens))} if tokens else None
    return SimpleNamespace(aggregated_metrics=metrics, total_running_requests=running, total_queued_requests=queued)


@pytest.mark.parametrize(
    ("tokens", "running", "queued", "replicas"),
    [
        ([], 0.0, None, 0.0),
        ([1000.0], 4.0, 0.0, 1.0),
        ([1500.0, 500.0], 4.0, None, 2.0),
        # Requests in the proxies are as long as those in the replicas.
        ([1000.0], 4.0, 4.0, 2.0),
        ([0.0], 0.0, 3.0, 0.0),
    ],
)
def test_there_is_one_replica_for_so_many_expected_tokens(
    tokens: list[float], running: float, queued: float | None, replicas: float
) -> None:
    assert TokensPolicy(1000)(context(tokens, running, queued)) == (replicas, {})
