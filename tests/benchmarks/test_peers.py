"""The benchmark of systems in process, with a tiny model and few tokens."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.peers import COMPARED, main
from benchmarks.shapes import SHAPES, Shape
from benchmarks.systems.peer_systems import SYSTEMS
from benchmarks.translators import ENGINES, FIREFOX
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_store
from tests.families import Family

# It starts processes.
pytestmark = pytest.mark.slow
Run = Callable[..., dict[str, Any]]
# optimum and OpenVINO are extras with environments of their own.
EXTRAS = {"optimum-int8": "onnxruntime", "openvino-int8": "intel"}


def is_installed(system: str) -> bool:
    if system not in EXTRAS:
        return True
    return find_spec("optimum") is not None and find_spec(f"optimum.{EXTRAS[system]}") is not None


INSTALLED = [name for name in SYSTEMS if is_installed(name)]
OURS, CTRANSLATE2 = "slimseq-onnxruntime-int8", "ctranslate2-int8"
TINY = Shape(
    Task.TRANSLATION,
    input_tokens=16,
    new_tokens=5,
    config={
        "model_type": "bart",
        "vocab_size": 400,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
    },
    search={},
)


def started() -> list[psutil.Process]:
    """Returns the processes that this one has started, without the resource tracker of `multiprocessing`."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if not any("resource_tracker" in word for word in child.cmdline())]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("peers"), Family.T5).store


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """Runs the command with little to do and returns what it writes."""

    def benchmark(*arguments: str) -> dict[str, Any]:
        file = tmp_path / "peers.json"
        common = ["--batches", "2", "--new-tokens", "5", "--repeats", "2", "--store", str(store.root)]
        main(["--json", str(file), *common, *arguments])
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    return benchmark


def test_engines_of_a_real_translator_are_measured_on_the_same_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [
        {"source": "The cat sleeps.", "target": "O gato dorme."},
        {"source": "Good night!", "target": "Boa noite!"},
    ]
    data, file = tmp_path / "test.pairs.jsonl", tmp_path / "peers.json"
    data.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")

    main(["--json", str(file), "--models", FIREFOX, "--data", str(data), "--batches", "1", "2", "--repeats", "1"])

    found = json.loads(file.read_text(encoding="utf-8"))
    assert not found["left_out"]
    assert not found["rows"]
    assert [(row["batch"], row["engine"]) for row in found["translators"]] == list(product([1, 2], ENGINES))
    assert all(row["words_per_second"] > 0 and row["chrf"] > 50 for row in found["translators"])
    printed = capsys.readouterr().out
    assert "| engine, batch | words/s | times fxtranslate |" in printed


def test_all_systems_are_measured_and_ours_are_compared_with_the_others(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = started()

    found = run("--models", "translation/original", "--beams", "1", "2", "--threads", "1", "--systems", *INSTALLED)

    assert not found["left_out"]
    assert [(row["system"], row["beams"]) for row in found["rows"]] == [
        (name, beams) for beams in (1, 2) for name in INSTALLED
    ]
    for row in found["rows"]:
        assert row["model"] == "translation/original"
        assert row["batch"] == 2
        assert row["first_token_ms"] > 0
        assert row["tokens_per_second"] > 0
    peaks = {row["system"]: row["peak_bytes"] for row in found["rows"]}
    assert peaks["transformers-fp32"] > 2 * peaks["ctranslate2-int8"], "a process holds more than its own system"
    printed = capsys.readouterr().out
    assert all(name in printed for name in INSTALLED)
    assert found["host"] in printed
    assert "| Slimseq, times as fast as | batch 2 |" in printed
    assert all(f"| {name} | " in printed.split("times as fast as")[1] for name in COMPARED if name in INSTALLED)
    assert started() == before


def test_a_shape_is_made_measured_and_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    cache = tmp_path / "cache"

    found = run("--shapes", "tiny", "--cache", str(cache), "--batches", "1", "3", "--systems", OURS, CTRANSLATE2)

    assert not found["left_out"]
    assert [(row["batch"], row["beams"], row["system"]) for row in found["rows"]] == [
        # The settings with the least memory come first.
        (batch, beams, system)
        for batch, beams in ((1, 1), (3, 1), (1, 4), (3, 4))
        for system in (OURS, CTRANSLATE2)
    ]
    for row in found["rows"]:
        assert (row["model"], row["input_tokens"], row["new_tokens"]) == ("tiny", 16, 5)
        assert row["load_seconds"] > 0
        assert row["tokens_per_second"] > 0
        assert ("first_token_ms" in row) == (row["batch"] == 1)
    assert not list(cache.iterdir()), "the files of a shape are large"
    assert "### tiny, 4 beams, 16 tokens in, 5 out" in capsys.readouterr().out


def test_a_shape_that_is_kept_is_not_made_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    options = ("--shapes", "tiny", "--cache", str(tmp_path), "--keep", "--beams", "1", "--systems", CTRANSLATE2)
    run(*options)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").rglob("model.*")}

    found = run(*options)

    assert len(found["rows"]) == 1
    assert {path.name for path in files} == {"model.safetensors", "model.bin"}
    assert {path: path.stat().st_mtime_ns for path in files} == files
