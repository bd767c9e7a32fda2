"""The service under load beside other servers, with a tiny model."""

import contextlib
import copy
import io
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
CLIENTS = (1, 2)
# The share of the fastest server's capacity that arrives: little, for the slowest server gets as much.
SHARE = 0.2
# The tokens of short and long outputs.
TOKENS = (6, 12)
# Milliseconds of CPU time of the event loop for a request: far more than it takes.
MAX_LOOP_MS = 50


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"), Family.T5).store


@pytest.fixture(scope="module")
def benchmark(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Runs the command once with short loads. Returns the record that it writes, and what it prints."""
    add_ctranslate2(Context(store), Task.TRANSLATION, "original")
    file = tmp_path_factory.mktemp("record") / "serving.json"
    options = ["--store", str(store.root), "--variant", "original", "--json", str(file), "--servers", *SERVERS]
    options += ["--seconds", "0.7", "--threads", "1", "--rounds", "2", "--beams", "1", "--facts", "--mix", "2"]
    options += ["--clients", *map(str, CLIENTS), "--share", str(SHARE), "--tokens", *map(str, TOKENS)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(options)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found, printed.getvalue().strip()


def test_servers_are_measured_under_every_load(benchmark: tuple[dict[str, Any], str]) -> None:
    found, _ = benchmark

    assert not found["left_out"]
    assert [server["name"] for server in found["servers"]] == SERVERS
    closed_of_first = found["servers"][0]["loads"][: len(CLIENTS)]
    rate = SHARE * max(load["figures"]["requests_per_second"] for load in closed_of_first)
    loads = [*(("closed", clients) for clients in CLIENTS), ("poisson", pytest.approx(rate))]
    for server in found["servers"]:
        assert [(load["kind"], load["amount"]) for load in server["loads"]] == loads


def test_servers_answer_all_requests_with_outputs_of_the_same_length(benchmark: tuple[dict[str, Any], str]) -> None:
    found, _ = benchmark

    shortest, longest = TOKENS
    for server in found["servers"]:
        for load in server["loads"]:
            figures = load["figures"]
            assert figures["answered"] > 0, figures
            # What arrives at the rate of a faster server may be more than this one answers in time.
            assert load["kind"] == "poisson" or figures["errors"] == 0, figures
            assert 0 < figures["p50_ms"] <= figures["p95_ms"]
        closed = server["loads"][0]["figures"]
        assert shortest <= closed["tokens_per_second"] / closed["requests_per_second"] <= longest


def test_the_service_is_compared_with_the_servers_its_runtime_and_a_plain_post(
    benchmark: tuple[dict[str, Any], str],
) -> None:
    found, _ = benchmark

    runtime, contest = found["runtime"], found["contest"]
    assert runtime["clients"] == contest["clients"] == 2, "not the nearest to 32"
    for load, figure in (("throughput", "requests_per_second"), ("p50", "p50_ms")):
        ratios = [each[load]["slimseq"][figure] / each[load]["in process"][figure] for each in runtime["rounds"]]
        assert runtime["ratios"]["in process"][load]["median"] == pytest.approx(median(ratios))
    assert len(contest["rounds"]) == 2
    assert set(contest["ratios"]) == {"ctranslate2", "plain"}
    for each in found["loop"]["rounds"]:
        assert 0 < each["cpu"]["plain POST"]["loop_cpu_ms"] < each["cpu"]["slimseq"]["loop_cpu_ms"] < MAX_LOOP_MS


def test_short_requests_are_measured_alone_and_beside_documents(benchmark: tuple[dict[str, Any], str]) -> None:
    found, _ = benchmark

    for each in found["mix"]["rounds"]:
        beside, alone = each["p95"]["slimseq"], each["p95"]["alone"]
        assert alone["documents_per_second"] == 0
        assert beside["documents_per_second"] > 0
        assert not alone["errors"]
        assert alone["answered"] == beside["answered"] > 2


def test_the_command_prints_its_record_as_markdown(benchmark: tuple[dict[str, Any], str]) -> None:
    found, printed = benchmark

    assert printed == "\n".join(lines(found)).strip()
    assert "sentences with numbers, dates and addresses" in printed
    assert "forced lengths: answers of 6 and 12 tokens, the same for all servers" in printed
    assert all(f"| {name} | 2 clients |" in printed for name in SERVERS)
    assert "Compared with its runtime in" in printed
    assert printed.count("times as many requests a second (median, lowest and highest of 2 turns)") == 2
    assert re.search(r"takes [\d.]+ ms of CPU time a request, [\d.]+ \([^)]+\) times that of a plain FastAPI", printed)


def test_answers_without_forced_lengths_end_by_themselves(benchmark: tuple[dict[str, Any], str]) -> None:
    found = copy.deepcopy(benchmark[0])
    found["settings"]["tokens"] = [0, 0]

    written = "\n".join(lines(found))

    assert "answers end by themselves" in written
    assert "forced" not in written


def test_gaps_of_a_stream_are_compared_with_the_usual_gap_alone(benchmark: tuple[dict[str, Any], str]) -> None:
    found = copy.deepcopy(benchmark[0])
    for each in found["mix"]["rounds"]:
        each["p95"]["alone"]["gaps_ms"] = [2, 3, 4]
        each["p95"]["slimseq"]["gaps_ms"] = [3, 5, 10]

    written = "\n".join(lines(found))

    assert re.search(r"documents: p50 \d+ ms.* 1.50 \(.*, 2.50 \(.* and 5.00 \(.* times the", written)


def test_fxtranslate_answers_from_firefoxs_files(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, Family.T5).store
    setup = Setup(store, Task.TRANSLATION, "original", tmp_path, 2)
    with pytest.raises(BenchmarkFailed, match="from English to Portuguese"):
        STARTS["fxtranslate"](setup)
    pytest.importorskip("fxtranslate", reason="a peer of the benchmarks: `pip install --no-deps fxtranslate==0.5.0`")
    manifest = store.manifest(Task.TRANSLATION, "original").model_copy(update={"languages": ["en", "pt"]})
    write_manifest(store.folder(Task.TRANSLATION, "original"), manifest)

    with running(STARTS["fxtranslate"](setup), tmp_path) as client:
        [output] = client.call("POST", client.path, {"text": "The children are playing in the garden."})["outputs"]

    assert output["text"] == "As crianças estão brincando no jardim."
    assert output["output_tokens"] > 6
