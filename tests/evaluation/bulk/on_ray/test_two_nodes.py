"""Jobs on a cluster of two Ray nodes on this machine: the rows of one machine, and what ends in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimseq.models_store.store import Store

pytest.importorskip("ray.data", reason="the extra `cluster` is not installed: `make test-cluster` runs this")

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from slimseq.evaluation.bulk.on_ray.cpus import ENGINE_CPUS, TASK_CPUS
from tests.app.cluster.nodes import ENVIRONMENT, SYSTEM

# Each node has memory for the filter of Ray Data's checkpoints (1 GiB) and two engines.
NODE = {"num_cpus": 2, "memory": 4 * 1024**3, "object_store_memory": 150 * 1024**2}
# With so many CPUs taken, the head node has room for a task that reads or writes, and for no engine.
OTHER_CPUS = NODE["num_cpus"] - TASK_CPUS
# Rows are padded, so that a window ends after ten of them: its rows have at most a million characters.
WINDOW_ROWS, PADDING = 10, 100_000
PARTS = 12
ROWS = PARTS * WINDOW_ROWS
# A window takes a second or so.
TEXT = "Good morning, it is row {}. The children are playing in the garden. " + "It is late. It costs $1,299.99. " * 3
WAIT_SECONDS = 240.0


class OtherJob:
    """What else a cluster does."""

    def has_started(self) -> bool:
        return True


@dataclass
class Nodes:
    """A cluster, and one of its nodes, which tests may kill."""

    cluster: Any
    worker: Any

    def start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Starts `slimseq` as a driver of the cluster."""
        environment = os.environ | ENVIRONMENT | {"RAY_ADDRESS": self.cluster.address}
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "slimseq", *words], env=environment, stdout=file, stderr=file
            )

    @contextmanager
    def busy_head(self) -> Iterator[Callable[[], None]]:
        """Takes CPUs of the head node for another job, so that all engines start on the worker.

        Yields:
            What ends that job.
        """
        ray.init(address=self.cluster.address, log_to_driver=False, logging_level="warning")
        try:
            on_head = NodeAffinitySchedulingStrategy(self.cluster.head_node.node_id, soft=False)
            other = ray.remote(OtherJob).options(num_cpus=OTHER_CPUS, scheduling_strategy=on_head).remote()
            ray.get(other.has_started.remote())
            yield lambda: ray.kill(other)
        finally:
            ray.shutdown()

    def run(self, words: list[str], log: Path) -> int:
        return self.start(words, log).wait(WAIT_SECONDS)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """The cluster. The last test of this file kills a node of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        head = {**NODE, "include_dashboard": False, "_system_config": SYSTEM}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield Nodes(cluster, cluster.add_node(**NODE))
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of rows. Some are equal, also in other windows, and one cannot be done."""
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    rows = [{"text": TEXT.format(row % 7 if row % 3 else row), "padding": "x" * PADDING} for row in range(ROWS)]
    lines = [json.dumps(row) for row in rows]
    lines[35] = '{"text": 5}'
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def command(store: Store, data: Path, out: Path | str, *options: object) -> list[str]:
    words: list[object] = ["generate", "translation", "quantized", "--data", data, "--out", out, "--store", store.root]
    return list(map(str, [*words, *options]))


def on_ray(store: Store, data: Path, out: Path | str, *options: object, parts: int = PARTS) -> list[str]:
    return command(store, data, out, "--on", "ray", "--parts", parts, *options)


@pytest.fixture(scope="module")
def one_machine(embedded: Store, data: Path) -> Path:
    """The rows and errors of the same command on one machine."""
    out = data.with_name("one-machine.jsonl")
    done = subprocess.run([sys.executable, "-m", "slimseq", *command(embedded, data, out)], capture_output=True)
    assert done.returncode == 1, done.stderr
    return out


def assert_same(out: Path, one_machine: Path) -> None:
    """Checks that the parts have the lines of one machine, each once, and in order within a part."""
    found: dict[int, str] = {}
    for part in out.iterdir():
        lines = part.read_text(encoding="utf-8").splitlines()
        indexes = [json.loads(line)["index"] for line in lines]
        assert indexes == sorted(indexes)
        assert found.keys().isdisjoint(indexes)
        found |= {index: line.replace(f'"index": {index}, ', "", 1) for index, line in zip(indexes, lines, strict=True)}
    assert [found[index] for index in sorted(found)] == one_machine.read_text(encoding="utf-8").splitlines()
    errors = out.with_name(out.name + ".errors.jsonl")
    assert errors.read_bytes() == one_machine.with_name(one_machine.name + ".errors.jsonl").read_bytes()
    assert not out.with_name(out.name + ".job").exists()


def committed(out: Path) -> int:
    """Returns the number of parts that are whole."""
    return sum(".pending" not in path.name for path in (out.parent / f"{out.name}.job" / "ids").glob("*.parquet"))


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, parts: int, log: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while committed(out) < parts:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_a_cluster_writes_the_rows_of_one_machine(
    nodes: Nodes, embedded: Store, data: Path, one_machine: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"

    # An address, as of a bucket.
    code = nodes.run(on_ray(embedded, data, f"file://{out}"), log)

    assert code == 1 and f"1 of {ROWS} rows could not be done" in log.read_text(), log.read_text()
    assert "Traceback" not in log.read_text()
    assert_same(out, one_machine)
    assert len(list(out.iterdir())) == PARTS


@pytest.mark.timeout(600)
def test_parquet_parts_have_the_rows_of_one_machine(nodes: Nodes, embedded: Store, tmp_path: Path) -> None:
    data, whole, out, log = (tmp_path / name for name in ("data.txt", "whole.parquet", "out", "log"))
    data.write_text("Good morning.\nIt is late.\n" * 200)
    one_machine = [sys.executable, "-m", "slimseq", *command(embedded, data, whole)]
    subprocess.run(one_machine, check=True, capture_output=True)

    code = nodes.run(on_ray(embedded, data, out, "--out-form", "parquet"), log)

    assert code == 0, log.read_text()
    parts = [pq.read_table(path) for path in out.iterdir()]
    assert len(parts) == 2
    assert pa.concat_tables(parts).sort_by("index").drop("index").equals(pq.read_table(whole))


@pytest.mark.timeout(600)
def test_a_command_that_is_killed_goes_on_and_nothing_is_lost_or_there_twice(
    nodes: Nodes, embedded: Store, data: Path, one_machine: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    process = nodes.start(on_ray(embedded, data, out), log)
    wait_for_parts(process, out, 3, log)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    done_before = committed(out)

    refused = nodes.run(on_ray(embedded, data, out, "--num-beams", 3), log)
    # Another number of parts: rows are known by their ids.
    summary = tmp_path / "summary"
    code = nodes.run(on_ray(embedded, data, out, "--json", parts=5), summary)

    assert 3 <= done_before < PARTS
    assert refused == 1 and "--anew begins anew" in log.read_text()
    assert code == 1, summary.read_text()
    shown = summary.read_text()
    counts, _ = json.JSONDecoder().raw_decode(shown[shown.index("{\n") :])
    assert counts["rows"] == ROWS and counts["resumed_at"] >= WINDOW_ROWS * done_before
    assert_same(out, one_machine)


@pytest.mark.timeout(600)
def test_a_node_that_dies_in_the_middle_loses_nothing_and_doubles_nothing(
    nodes: Nodes, embedded: Store, data: Path, one_machine: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with nodes.busy_head() as end_other_job:
        assert ENGINE_CPUS > TASK_CPUS, "the head node has room for an engine"
        # Two engines have room on the node that is left, and tasks beside them.
        process = nodes.start(on_ray(embedded, data, out, "--workers", 2), log)
        wait_for_parts(process, out, 2, log)
        # All processes of the node end at once, as by a power cut.
        nodes.cluster.remove_node(nodes.worker, allow_graceful=False)
        done_before = committed(out)
        end_other_job()
    code = process.wait(WAIT_SECONDS)

    assert done_before < PARTS
    assert code == 1 and f"1 of {ROWS} rows could not be done" in log.read_text(), log.read_text()
    assert_same(out, one_machine)


@pytest.mark.timeout(600)
def test_a_killed_command_goes_on_where_one_node_of_two_cpus_is_left(
    nodes: Nodes, embedded: Store, data: Path, one_machine: Path, tmp_path: Path
) -> None:
    if nodes.worker in nodes.cluster.list_all_nodes():
        nodes.cluster.remove_node(nodes.worker, allow_graceful=False)
    out, log = tmp_path / "out", tmp_path / "log"
    process = nodes.start(on_ray(embedded, data, out), log)
    wait_for_parts(process, out, 2, log)
    process.send_signal(signal.SIGKILL)
    process.wait(60)

    code = nodes.run(on_ray(embedded, data, out), log)

    assert code == 1 and f"1 of {ROWS} rows could not be done" in log.read_text(), log.read_text()
    assert_same(out, one_machine)
