import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from benchmarks.command import BenchmarkFailed
from benchmarks.serving import main
from benchmarks.serving_lines import lines
from benchmarks.systems import servers
from benchmarks.systems.servers import Server, Setup, running
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_artifact, tiny_context
from tests.families import Family

# It starts servers.
pytestmark = pytest.mark.slow
SERVERS = ["ctranslate2", "slimseq", "pipeline"]
# What must not be left running.
MODULES = ("benchmarks.systems.peer_server", "slimseq.app")


def started_servers() -> list[str]:
    """Returns the server processes that this process has."""
    commands = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    return [line for line in commands if any(f"-m {module}" in line for module in MODULES)]


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """What ran before, such as the service that other tests share, may go on."""
    before = started_servers()
    yield
    assert started_servers() == before


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("serving")
    context = tiny_context(folder)
    tiny_artifact(context, Family.T5, folder)
    return context.store


def benchmark(store: Store, folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command with short loads and returns what it writes."""
    file = folder / "serving.json"
    main(
        [
            *("--store", str(store.root), "--json", str(file), "--seconds", "0.7", "--threads", "1"),
            *("--rounds", "2"),
            *("--beams", "1", "--tokens", "6", "12", *arguments),
        ]
    )
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_all_three_servers_are_measured_under_every_load(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Little of the fastest server's capacity, for the slowest takes what arrives as well.
    found = benchmark(store, tmp_path, "--clients", "1", "2", "--share", "0.2")

    assert not found["left_out"] and [server["name"] for server in found["servers"]] == SERVERS
    capacity = max(load["figures"]["requests_per_second"] for load in found["servers"][0]["loads"][:2])
    for server in found["servers"]:
        assert [(load["kind"], load["amount"]) for load in server["loads"][:2]] == [("closed", 1), ("closed", 2)]
        assert server["loads"][2]["kind"] == "poisson"
        assert server["loads"][2]["amount"] == pytest.approx(0.2 * capacity)
        for load in server["loads"]:
            figures = load["figures"]
            # What arrives at the rate of a faster server may be more than this one answers in time.
            assert figures["answered"] > 0 and (load["kind"] == "poisson" or figures["errors"] == 0), figures
            assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        closed = server["loads"][0]["figures"]
        assert 6 <= closed["tokens_per_second"] / closed["requests_per_second"] <= 12, "outputs are not pinned"
    runtime = found["runtime"]
    assert runtime["clients"] == 2, "not the nearest to 32"
    for load, figure in (("throughput", "requests_per_second"), ("p50", "p50_ms")):
        ratios = [each[load]["slimseq"][figure] / each[load]["in process"][figure] for each in runtime["rounds"]]
        assert len(ratios) == 2
        assert runtime["ratios"]["in process"][load]["median"] == pytest.approx(median(ratios))
    assert found["host"] and found["cpu_flags"] and "ctranslate2" in found["versions"]
    written = "\n".join(lines(found))
    assert all(f"| {name} | 2 clients |" in written for name in SERVERS)
    assert "times the answers a second of ctranslate2 (median" in written and "In turns with its runtime in" in written
    contest = found["contest"]
    assert contest["clients"] == 2 and contest["rate"] == pytest.approx(0.2 * capacity)
    assert len(contest["rounds"]) == 2 and set(contest["ratios"]) == set(SERVERS) - {"slimseq"}
    for each in contest["ratios"].values():
        assert 0 < each["throughput"]["least"] <= each["throughput"]["median"] <= each["throughput"]["most"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in SERVERS) and found["host"] in printed


def test_plain_fastapi_and_ctranslate2_have_the_same_files_and_a_plain_post_is_the_unit_of_the_event_loop(
    store: Store, tmp_path: Path
) -> None:
    add_ctranslate2(Context(store), Task.TRANSLATION, "original")
    servers = ("--clients", "2", "--servers", "slimseq", "plain", "--share", "0.2", "--facts")

    found = benchmark(store, tmp_path, *servers)

    assert not found["left_out"] and [each["name"] for each in found["servers"]] == ["slimseq", "plain"]
    assert all(load["figures"]["errors"] == 0 for each in found["servers"] for load in each["loads"])
    assert found["contest"]["ratios"]["plain"]["throughput"]["median"] > 0
    for each in found["loop"]["rounds"]:
        assert 0 < each["cpu"]["plain POST"]["loop_cpu_ms"] < each["cpu"]["slimseq"]["loop_cpu_ms"] < 50
    written = "\n".join(lines(found))
    assert "sentences with numbers, dates and addresses" in written
    assert re.search(r"takes [\d.]+ ms of CPU time a request, [\d.]+ \([^)]+\) times that of a plain FastAPI", written)


def test_a_server_that_cannot_start_says_why_in_one_line_and_is_left_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(setup: Setup) -> Server:
        return Server("pipeline", "broken", ["-c", "import sys; sys.exit('there is no such library')"], "/generate")

    monkeypatch.setitem(servers.SERVERS, "pipeline", broken)

    found = benchmark(store, tmp_path, "--clients", "1", "--servers", "pipeline")

    assert found["left_out"] == {"pipeline": "pipeline ended with 1: there is no such library"}
    assert not found["servers"] and found["runtime"] is None
    assert "pipeline is left out: pipeline ended with 1" in capsys.readouterr().out


def test_a_server_is_stopped_where_its_block_fails_and_does_not_see_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMSEQ_STORE", "elsewhere")
    code = "import http.server, os; assert 'SLIMSEQ_STORE' not in os.environ; port = int(os.environ['SLIMSEQ_PORT']); "
    code += "http.server.test(http.server.SimpleHTTPRequestHandler, port=port, bind='127.0.0.1')"
    (tmp_path / "ready.json").write_text("{}", encoding="utf-8")
    server = Server("files", "serves files", ["-c", code], "/", ready="/ready.json", folder=tmp_path)
    before = set(psutil.Process().children())
    started: list[psutil.Process] = []

    def fail_while_running() -> None:
        with running(server, tmp_path):
            started.extend(set(psutil.Process().children()) - before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_running()

    assert len(started) == 1 and not started[0].is_running()


def test_a_command_that_is_ended_stops_its_server(store: Store) -> None:
    arguments = ["--store", str(store.root), "--servers", "slimseq", "--clients", "1", "--threads", "1"]
    command = subprocess.Popen([sys.executable, "-m", "benchmarks.serving", *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (started := psutil.Process(command.pid).children()) and time.monotonic() < deadline:
        time.sleep(0.1)

    command.terminate()

    assert command.wait(60) == 128 + signal.SIGTERM
    assert len(started) == 1 and not started[0].is_running()


def test_a_variant_without_safetensors_is_compared_with_int8_of_its_original(store: Store, tmp_path: Path) -> None:
    own = Setup(store, Task.TRANSLATION, "original", tmp_path, threads=2)
    other = Setup(store, Task.TRANSLATION, "quantized", tmp_path, threads=2)

    assert (own.weights, own.compute_type) == ("original", "float32")
    assert (other.weights, other.compute_type) == ("original", "int8")
    with pytest.raises(BenchmarkFailed, match="has safetensors"):
        _ = Setup(Store(tmp_path), Task.TRANSLATION, "quantized", tmp_path, threads=2).weights


def test_a_random_model_of_a_shape_is_served_in_int8_in_turns_with_its_original(store: Store, tmp_path: Path) -> None:
    settings = ("--shape", "tiny-t5", "--beams", "1", "--clients", "2", "--servers", "slimseq", "original")

    found = benchmark(store, tmp_path, *settings, "--variant", "quantized")

    assert (found["task"], found["variant"], found["left_out"]) == ("tiny-t5", "quantized", {})
    assert [server["name"] for server in found["servers"]] == ["original", "slimseq"]
    assert all(load["figures"]["answered"] > 0 for server in found["servers"] for load in server["loads"])
    written = "\n".join(lines(found))
    assert "tiny-t5/quantized, greedy" in written
    assert re.search(r"gives [\d.]+ \([\d.]+ to [\d.]+\) times the answers a second of original", written)
    assert "original: translation/original, runtime auto" in written
