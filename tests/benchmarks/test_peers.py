import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.peer_results import Row, Setting, with_ratios
from benchmarks.peer_systems import SYSTEMS
from benchmarks.peers import BASELINES, main
from slimseq.models_store.manifest import Family
from tests.compression.tiny import tiny_artifact, tiny_context

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command with little to do and returns what it writes."""

    def benchmark(*arguments: str) -> dict[str, Any]:
        file = tmp_path / "peers.json"
        common = ["--batches", "2", "--beams", "1", "--input-tokens", "12", "--new-tokens", "5", "--repeats", "2"]
        main(["--json", str(file), *common, *arguments])
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    return benchmark


def test_all_systems_are_measured_and_set_beside_the_baselines(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optimum")
    before = psutil.Process().children(recursive=True)

    found = run("--models", "tiny-bart", "--beams", "1", "2", "--threads", "1")

    assert not found["left_out"]
    assert [(row["system"], row["beams"]) for row in found["rows"]] == [
        (name, beams) for beams in (1, 2) for name in SYSTEMS
    ]
    for row in found["rows"]:
        assert row["model"] == "tiny-bart" and row["batch"] == 2 and row["repeats"] == 2
        assert row["input_tokens"] == 12 and row["new_tokens"] == 5
        assert row["tokens_per_second"] == pytest.approx(2 * 5 / row["p50_ms"] * 1000)
        assert 0 < row["least_ms"] <= row["p50_ms"] <= row["p95_ms"] and row["first_token_ms"] > 0
        assert row["peak_bytes"] >= 0.9 * row["loaded_bytes"] > 10_000_000
        assert set(row["ratios"]) == set(BASELINES)
        own = row["ratios"].get(row["system"])
        assert own is None or set(own.values()) == {1.0}
    peaks = {row["system"]: row["peak_bytes"] for row in found["rows"]}
    assert peaks["transformers-fp32"] > 2 * peaks["ctranslate2-fp32"], "a process holds more than its own system"
    assert found["host"] and found["cpu_flags"] and found["settings"]["threads"] == 1
    assert {"transformers", "optimum-onnx", "onnxruntime", "ctranslate2"} <= set(found["versions"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in SYSTEMS) and found["host"] in printed
    assert psutil.Process().children(recursive=True) == before


def test_the_faster_layout_is_reported_and_a_spent_budget_leaves_one_repeat(run: Run) -> None:
    found = run("--models", "tiny-t5", "--systems", "ctranslate2-int8", "--threads", "2", "--budget-seconds", "0.001")

    (row,) = found["rows"]
    assert set(row["layouts"]) == {"1x2", "2x1"}
    assert row["tokens_per_second"] == row["layouts"][row["layout"]] == max(row["layouts"].values())
    assert row["repeats"] == 1


def test_what_fails_says_why_in_one_line_and_the_others_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)
    broken = tmp_path / "broken" / "ctranslate2"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(
        "raise ImportError('there is no such library\\nfor this CPU')", encoding="utf-8"
    )
    dead = tmp_path / "broken" / "optimum"
    dead.mkdir()
    (dead / "__init__.py").write_text(
        "import os, sys; sys.stderr.write('out of memory\\n'); sys.stderr.flush(); os._exit(7)", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    systems = ["ctranslate2-fp32", "optimum-fp32", "slimseq-onnxruntime-fp32"]

    found = run("--models", "summarization", "translation", "--store", str(context.store.root), "--systems", *systems)

    assert [(row["model"], row["system"]) for row in found["rows"]] == [("translation", "slimseq-onnxruntime-fp32")]
    assert found["rows"][0]["ratios"] == {}
    assert found["left_out"]["translation: ctranslate2-fp32"] == "ImportError: there is no such library"
    assert found["left_out"]["translation: optimum-fp32"] == "ended with 7: out of memory"
    assert "summarization" in found["left_out"]
    assert "translation: optimum-fp32 is left out: ended with 7" in capsys.readouterr().out


def test_a_ratio_above_one_is_faster_and_below_one_of_memory_is_smaller() -> None:
    def row(system: str, milliseconds: float, peak: int) -> Row:
        return Row(
            setting=Setting("model", 1, 1),
            system=system,
            layout="1x1",
            layouts={},
            repeats=2,
            input_tokens=4,
            new_tokens=4,
            tokens_per_second=1,
            p50_ms=milliseconds,
            p95_ms=milliseconds,
            least_ms=milliseconds / 4,
            first_token_ms=milliseconds / 2,
            loaded_bytes=peak,
            peak_bytes=peak,
        )

    ours, other = with_ratios([row("ours", 10, 50), row("other", 20, 100)], ["other", "unmeasured"])

    assert list(ours.ratios) == list(other.ratios) == ["other"]
    ratios = ours.ratios["other"]
    assert (ratios.medians, ratios.minima, ratios.first_token, ratios.peak_bytes) == (2, 2, 2, 0.5)
