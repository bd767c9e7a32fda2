"""Two Ray nodes on this machine, as processes, and the deployment that tests look at."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster

from tests.service.client import Service
from tests.service.conftest import free_port

# A small object store, since nothing is put into it. `num_cpus` is what Ray counts: this machine may have fewer cores.
NODE = {"num_cpus": 2, "object_store_memory": 80 * 1024 * 1024}
SYSTEM = {
    # With these settings Ray notices a node that is gone within a second or two, and not after half a minute.
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    # Ray collects metrics every second, and not every ten.
    "metrics_report_interval_ms": 1000,
}
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": os.pathsep.join(sys.path)}
WAIT_SECONDS = 90.0
TWO_REPLICAS = ("--min-replicas", "2", "--max-replicas", "2")
APPLICATION, DEPLOYMENT = "slimseq", "Slimseq"


@dataclass
class Nodes:
    """The cluster, and one of its nodes that tests may kill."""

    cluster: Any
    worker: Any
    port: int

    @property
    def service(self) -> Service:
        return Service(self.port)

    def kill_worker(self) -> None:
        """Ends all processes of the node at once, as a power cut does."""
        self.cluster.remove_node(self.worker, allow_graceful=False)

    def add_worker(self) -> None:
        self.worker = self.cluster.add_node(**NODE)

    def deploy(self, config: Path) -> None:
        """Runs `serve run` with a config, as an operator does for the first one and for a changed one."""
        command = [Path(sys.executable).with_name("serve"), "run", "--non-blocking", "--address", self.cluster.address]
        subprocess.run([*command, config], check=True, capture_output=True, cwd=config.parent)

    def deploy_anew(self, config: Path, replicas: int) -> None:
        """Removes what is deployed, and waits until the replicas of a config run."""
        if APPLICATION in serve.status().applications:
            serve.delete(APPLICATION)
        self.deploy(config)
        self.wait_until_running(replicas)

    def wait_until_running(self, replicas: int) -> None:
        until(lambda: running_replicas() == replicas and not transitional_replicas())

    def message(self) -> str:
        """Returns what `serve status` says about the replicas."""
        application = serve.status().applications[APPLICATION]
        return str(application.message) + "".join(each.message for each in application.deployments.values())


def running_replicas() -> int:
    return _replicas().get("RUNNING", 0)


def transitional_replicas() -> int:
    return sum(_replicas().values()) - running_replicas()


def _replicas() -> dict[str, int]:
    application = serve.status().applications.get(APPLICATION)
    deployment = application.deployments.get(DEPLOYMENT) if application else None
    return dict(deployment.replica_states) if deployment else {}


def until(is_so: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{serve.status()}"
        time.sleep(0.2)


def config_of(folder: Path, port: int, store: Path, *options: str, **changes: Any) -> Path:
    """Writes a config with `slimseq deploy ray`, whose deployment has some changes for tests."""
    path = folder / "serve.yaml"
    words = ["deploy", "ray", str(path), "--store", str(store), "--port", str(port), "--cpus", "1", "--force", *options]
    subprocess.run([sys.executable, "-m", "slimseq", *words], check=True, capture_output=True)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["applications"][0]["deployments"][0] |= {"graceful_shutdown_wait_loop_s": 0.2, **changes}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Starts the cluster, and stops it."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    cluster = None
    try:
        head = {**NODE, "include_dashboard": False, "_system_config": SYSTEM}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        worker = cluster.add_node(**NODE)
        ray.init(address=cluster.address, namespace="serve", log_to_driver=False, logging_level="warning")
        yield Nodes(cluster, worker, free_port())
        serve.shutdown()
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
