"""The service under load beside other servers, with a tiny model."""

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.command import BenchmarkFailed
from benchmarks.serving import lines, main
from benchmarks.systems.servers import SERVERS as STARTS
from benchmarks.systems.servers import Setup, running
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_store
from tests.families import Family

# It starts servers.
pytestmark = pytest.mark.slow
SERVERS = ["ctranslate2", "slimseq", "plain"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path, Family.T5).store


def benchmark(store: Store, folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command with short loads and returns what it writes."""
    file = folder / "serving.json"
    short = ["--seconds", "0.7", "--threads", "1", "--rounds", "2", "--beams", "1", "--tokens", "6", "12"]
    main(["--store", str(store.root), "--variant", "original", "--json", str(file), *short, *arguments])
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_servers_are_measured_under_every_load_and_the_service_is_compared(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_ctranslate2(Context(store), Task.TRANSLATION, "original")

    # Little of the fastest server's capacity, for the slowest takes what arrives as well.
    found = benchmark(
        store, tmp_path, "--clients", "1", "2", "--share", "0.2", "--facts", "--mix", "2", "--servers", *SERVERS
    )

    assert not found["left_out"] and [server["name"] for server in found["servers"]] == SERVERS
    rate = 0.2 * max(load["figures"]["requests_per_second"] for load in found["servers"][0]["loads"][:2])
    for server in found["servers"]:
        loads = [("closed", 1), ("closed", 2), ("poisson", pytest.approx(rate))]
        assert [(load["kind"], load["amount"]) for load in server["loads"]] == loads
        for load in server["loads"]:
            figures = load["figures"]
            # What arrives at the rate of a faster server may be more than this one answers in time.
            assert figures["answered"] > 0 and (load["kind"] == "poisson" or figures["errors"] == 0), figures
            assert 0 < figures["p50_ms"] <= figures["p95_ms"]
        closed = server["loads"][0]["figures"]
        assert 6 <= closed["tokens_per_second"] / closed["requests_per_second"] <= 12, "outputs are not pinned"
    runtime, contest = found["runtime"], found["contest"]
    assert runtime["clients"] == contest["clients"] == 2, "not the nearest to 32"
    for load, figure in (("throughput", "requests_per_second"), ("p50", "p50_ms")):
        ratios = [each[load]["slimseq"][figure] / each[load]["in process"][figure] for each in runtime["rounds"]]
        assert runtime["ratios"]["in process"][load]["median"] == pytest.approx(median(ratios))
    assert len(contest["rounds"]) == 2 and set(contest["ratios"]) == {"ctranslate2", "plain"}
    for each in found["loop"]["rounds"]:
        assert 0 < each["cpu"]["plain POST"]["loop_cpu_ms"] < each["cpu"]["slimseq"]["loop_cpu_ms"] < 50
    written = capsys.readouterr().out.strip()
    assert written == "\n".join(lines(found)).strip() and "sentences with numbers, dates and addresses" in written
    for each in found["mix"]["rounds"]:
        beside, alone = each["p95"]["slimseq"], each["p95"]["alone"]
        assert beside["documents_per_second"] > 0 == alone["documents_per_second"] and not alone["errors"]
        assert alone["answered"] == beside["answered"] > 2
        alone["gaps_ms"], beside["gaps_ms"] = [2, 3, 4], [3, 5, 10]
    assert all(f"| {name} | 2 clients |" in written for name in SERVERS) and "Compared with its runtime in" in written
    assert re.search(r"documents: p50 \d+ ms.* 1.50 \(.*, 2.50 \(.* and 5.00 \(.* times the", "\n".join(lines(found)))
    assert written.count("times as many requests a second (median, lowest and highest of 2 turns)") == 2
    assert re.search(r"takes [\d.]+ ms of CPU time a request, [\d.]+ \([^)]+\) times that of a plain FastAPI", written)


def test_fxtranslate_answers_from_firefoxs_files(store: Store, tmp_path: Path) -> None:
    setup = Setup(store, Task.TRANSLATION, "original", tmp_path, 2)
    with pytest.raises(BenchmarkFailed, match="from English to Portuguese"):
        STARTS["fxtranslate"](setup)
    pytest.importorskip("fxtranslate", reason="a peer of the benchmarks: `pip install --no-deps fxtranslate==0.5.0`")
    manifest = store.manifest(Task.TRANSLATION, "original").model_copy(update={"languages": ["en", "pt"]})
    write_manifest(store.folder(Task.TRANSLATION, "original"), manifest)

    with running(STARTS["fxtranslate"](setup), tmp_path) as client:
        [output] = client.call("POST", client.path, {"text": "The children are playing in the garden."})["outputs"]

    assert output["text"] == "As crianças estão brincando no jardim." and output["output_tokens"] > 6
