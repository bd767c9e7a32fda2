import json
from pathlib import Path

import pytest

from benchmarks.compression_page import main
from slimseq.compression.report.ablation import ABLATION

ROWS = [
    {"group": "importance", "name": "wanda", "value": 28.125, "interval": [26.5, 29.75], "retention": 0.97},
    {"group": "scheme", "name": "bf16", "value": 29.0, "seconds": 1.4},
]
FOUND = {
    "task": "translation",
    "dataset": "dev.tatoeba",
    "split": "dev",
    "samples": 500,
    "metric": "bleu",
    "rows": ROWS,
}
SHAPES = {
    "host": "a machine",
    "cpu_flags": ["avx2"],
    "versions": {"onnx": "1"},
    "measured_at": "2026-11-26T00:00:00+00:00",
    "rows": [
        {
            "model": "google-t5/t5-small",
            "operation": "quantize",
            "seconds": 12.34,
            "fp32_bytes": 242_000_000,
            "imported_bytes": 100_000_000,
            "peak_bytes": 1_342_000_000,
            "memory_ratio": 5.13,
            "is_within_limits": False,
        }
    ],
}


def test_every_choice_and_every_shape_has_its_figures(tmp_path: Path) -> None:
    (tmp_path / ABLATION).write_text(json.dumps([FOUND]), encoding="utf-8")
    (tmp_path / "shapes.json").write_text(json.dumps(SHAPES), encoding="utf-8")
    out = tmp_path / "page.md"

    main(["--ablation", str(tmp_path), "--hub-shapes", str(tmp_path / "shapes.json"), "--out", str(out)])

    written = out.read_text(encoding="utf-8")
    assert "| wanda | 28.12 | 26.50 to 29.75 | 0.970 | - |" in written
    assert "| bf16 | 29.00 | - | - | 1 |" in written
    assert "| google-t5/t5-small | quantize | 12.3 | 242 | 1,342 | 100 | 5.13 | no |" in written
    assert "a machine (avx2), 2026-11-26; onnx 1." in written


@pytest.mark.parametrize("content", ["{", '{"rows": []}'])
def test_what_is_no_ablation_ends_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / ABLATION).write_text(content, encoding="utf-8")

    with pytest.raises(SystemExit, match=r"^error: .*ablation"):
        main(["--ablation", str(tmp_path), "--out", str(tmp_path / "page.md")])

    assert not (tmp_path / "page.md").exists()
