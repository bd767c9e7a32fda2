import json
from pathlib import Path

import pytest

from benchmarks.output_warnings import main
from slimseq.models_store.store import Store

PAIRS = [
    ("It costs $1,299.99.", "Es kostet 1.299,99 $."),
    ("It costs $1,299.99.", "Es kostet 12.999 $."),
    ("The dog sleeps.", "Der Hund schläft."),
    ("The bird sings.", "Der Vogel singt."),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"source": source, "target": target}) for source, target in PAIRS]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_references_with_warnings_are_counted_by_kind(
    embedded: Store, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"

    main(["--store", str(embedded.root), "--data", str(data), "--json", str(out)])

    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["kinds"] == {"lost": 1} and found["outputs"] == 4
    assert found["found"][0]["output"] == PAIRS[1][1]
    assert "| lost | 1 | 25.00 % |" in capsys.readouterr().out


def test_outputs_of_a_variant_are_counted_too(embedded: Store, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--store", str(embedded.root), "--data", str(data), "--generate", "--samples", "3"])

    assert "| pairs.jsonl, translation/quantized, 3 | outputs | share |" in capsys.readouterr().out
