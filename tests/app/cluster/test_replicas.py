"""Several replicas with a simulated engine, whose steps take a fixed time and no CPU."""

import threading
from pathlib import Path

import pytest
import yaml

from slimseq.models_store.store import Store

pytest.importorskip("ray", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

from benchmarks.replicas import load, simulated_config
from tests.app.cluster.nodes import Nodes, running_replicas

CLIENTS = 16
# Expected tokens of a replica before there is another. The clients' requests have about 300.
TARGET_TOKENS = 150
# Longer than one replica is measured.
UPSCALE_SECONDS = 25


def rate(nodes: Nodes) -> float:
    figures = load(nodes.port).closed(CLIENTS, seconds=6)
    assert figures.errors == 0, figures.first_error
    return figures.requests_per_second


def test_waiting_tokens_bring_a_second_replica_and_at_least_1_8_times_the_throughput(
    nodes: Nodes, embedded: Store, tmp_path: Path
) -> None:
    config = simulated_config(embedded.root, nodes.port, 1)
    scaling = config["applications"][0]["deployments"][0]["autoscaling_config"]
    scaling |= {"max_replicas": 2, "upscale_delay_s": UPSCALE_SECONDS}
    scaling["policy"]["policy_kwargs"]["target_tokens"] = TARGET_TOKENS
    path = tmp_path / "simulated.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    nodes.deploy_anew(path, replicas=1)

    with_one = rate(nodes)
    assert running_replicas() == 1
    clients = threading.Thread(target=load(nodes.port).closed, args=(CLIENTS, UPSCALE_SECONDS + 10))
    clients.start()
    nodes.wait_until_running(2)
    clients.join()
    with_two = rate(nodes)

    assert with_two >= 1.8 * with_one
