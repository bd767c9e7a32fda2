import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import record
from benchmarks.pages import ROOT, main


def pages(folder: Path, **results: Any) -> str:
    """Writes results, named by their place on the page, as `amd`'s, and returns its page."""
    (folder / "results" / "amd").mkdir(parents=True)
    for name, found in results.items():
        file, text = (f"{name}.md", found) if isinstance(found, str) else (f"{name}.json", json.dumps(found))
        (folder / "results" / "amd" / file).write_text(text, encoding="utf-8")
    (folder / "docs").mkdir(exist_ok=True)
    main(["--results", str(folder / "results"), "--docs", str(folder / "docs")])
    return (folder / "docs" / "performance.md").read_text(encoding="utf-8")


def peer(system: str, batch: int, tokens_per_second: float) -> dict[str, Any]:
    named = {"model": "tiny-t5", "beams": 1, "system": system, "batch": batch}
    return {**named, "tokens_per_second": tokens_per_second, "first_token_ms": 1.25, "peak_bytes": 2_000_000}


@pytest.mark.parametrize("page", ["performance.md", "performance-xeon.md"])
def test_the_pages_in_docs_are_made_of_the_results_in_the_repository(page: str, tmp_path: Path) -> None:
    main(["--docs", str(tmp_path)])

    assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_speeds_stand_beside_each_other_and_ratios_name_the_engine_and_the_fastest_runtime(tmp_path: Path) -> None:
    rows = [
        peer("slimseq-onnxruntime-int8", 1, 300),
        peer("slimseq-onnxruntime-int8", 8, 2400),
        peer("slimseq-ctranslate2-int8", 1, 450),
        peer("slimseq-ctranslate2-int8", 8, 1200),
        peer("ctranslate2-int8", 1, 600),
        peer("ctranslate2-int8", 8, 1200),
    ]
    settings = {"threads": 2, "new_tokens": 4, "input_tokens": 4}
    found = record(settings=settings, rows=rows, left_out={"tiny-t5: optimum-int8": "there is none"})

    written = pages(tmp_path, peers=found)

    assert "### tiny-t5, greedy" in written and found["host"] in written
    assert "| slimseq-onnxruntime-int8 | 300 | 2,400 | 1.2 | 2 |" in written
    assert "| ctranslate2-int8 | 0.50 (auto 0.75) | 2.00 (auto 2.00) |" in written
    assert "tiny-t5: optimum-int8 is left out: there is none" in written
