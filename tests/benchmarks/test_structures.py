"""`python -m benchmarks.structures`: each operation runs as `slimseq compress` runs it, on inputs that fill a shape."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import structures
from benchmarks.shapes import SHAPES, make_shape
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

TINY = replace(
    SHAPES["t5-small"],
    input_tokens=40,
    new_tokens=8,
    config={
        **SHAPES["t5-small"].config,
        "vocab_size": 9000,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
    },
)


@pytest.fixture
def folder(embedded: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a tiny shape, which is known as `tiny`."""
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    make_shape(TINY, embedded, Store(tmp_path))
    return tmp_path


def test_operations_are_those_of_a_run(folder: Path) -> None:
    rows = [structures.measure_operation("tiny", each, folder, 4, 24, within=60) for each in structures.OPERATIONS]

    assert [structures.row_of(row)[:3] for row in rows] == [["tiny", each, "24"] for each in structures.OPERATIONS]
    parameters = Store(folder).manifest(Task.SUMMARIZATION, "original").size.parameters
    assert [row["fp32_bytes"] for row in rows] == [4 * parameters] * 3
    assert all(0 < row["imported_bytes"] <= row["peak_bytes"] and row["seconds"] > 0 for row in rows)
    # `losses` leaves the moments that `cut` reads.
    assert any((folder / "moments").iterdir())


def test_inputs_fill_the_shape(folder: Path) -> None:
    examples = structures.examples_of("tiny", 5)

    tokenizer = Tokenizer(Store(folder).folder(Task.SUMMARIZATION, "original"))
    assert len(examples) == 5 and len({each.source for each in examples}) == 5
    assert all(len(tokenizer.encode(each.source, TINY.input_tokens).ids) == TINY.input_tokens for each in examples)


def test_a_row_says_memory_in_megabytes_and_above_imports() -> None:
    measured = {"fp32_bytes": 2e8, "peak_bytes": 7e8, "imported_bytes": 3e8, "seconds": 12.4, "times_fp32": 2.0}

    row = structures.row_of({"shape": "t5-small", "operation": "losses", "tokens": 1024, **measured})

    assert row == ["t5-small", "losses", "1,024", "12", "200", "700", "300", "2.00"]
