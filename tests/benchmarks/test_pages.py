import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import record
from benchmarks.pages import ROOT, main
from benchmarks.sections import serving_section
from slimseq.compression.report.ablation import ABLATION

ROWS = [
    {"group": "importance", "name": "wanda", "value": 28.125, "interval": [26.5, 29.75], "retention": 0.97},
    {"group": "scheme", "name": "bf16", "value": 29.0, "seconds": 1.4},
]
ABLATIONS = [
    {
        "task": "translation",
        "dataset": "dev.tatoeba",
        "split": "dev",
        "samples": 500,
        "metric": "bleu",
        "rows": ROWS,
    }
]
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


def pages(folder: Path, **results: Any) -> str:
    """Writes results, named by their place on the page, as `amd`'s, and returns its page."""
    (folder / "results" / "amd").mkdir(parents=True)
    for name, found in results.items():
        (folder / "results" / "amd" / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    (folder / "docs").mkdir(exist_ok=True)
    main(["--results", str(folder / "results"), "--docs", str(folder / "docs")])
    return (folder / "docs" / "performance.md").read_text(encoding="utf-8")


def peer(system: str, batch: int, tokens_per_second: float) -> dict[str, Any]:
    named = {"model": "tiny-t5", "beams": 1, "system": system, "batch": batch}
    return {**named, "tokens_per_second": tokens_per_second, "first_token_ms": 1.25, "peak_bytes": 2_000_000}


def serving(**changes: Any) -> dict[str, Any]:
    settings = {
        "tokens": [16, 64],
        "options": {"num_beams": 4, "early_stopping": True},
        "seconds": 1,
        "threads": 2,
    }
    nothing: dict[str, Any] = {
        "servers": [],
        "left_out": {},
        "in_process": None,
        "beside": None,
        "soak": None,
        "mix": [],
    }
    return record(task="translation", variant="quantized", settings=settings, **nothing) | changes


@pytest.mark.parametrize("page", ["performance.md", "performance-xeon.md", "compression.md"])
def test_the_pages_in_docs_are_made_of_the_results_in_the_repository(page: str, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(ROOT / "docs" / "images")

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


def test_memory_stands_after_what_was_done(tmp_path: Path) -> None:
    state = {"done": "load translation/quantized", "seconds": 0.256, "resident_bytes": 150 * 2**20}

    written = pages(tmp_path, residency=record(states=[state]))

    assert "| load translation/quantized | 0.26 | 150 |" in written


def test_records_stand_by_kind_and_then_by_name_and_the_plot_of_a_variant_after_all_loads(tmp_path: Path) -> None:
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "docs" / "images" / "amd-translation-quantized.png").touch()
    second = serving(variant="compact")

    written = pages(tmp_path, **{"1": record(states=[]), "2": serving(), "3": second})

    parts = (
        ": translation/quantized, 4",
        ": translation/compact, 4",
        "amd-translation-quantized](images/amd-translation-quantized.png)",
        "## Memory",
    )
    places = [written.index(part) for part in parts]
    assert places == sorted(places)
    assert "amd-translation-compact" not in written


def test_what_is_no_result_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "amd").mkdir()
    (tmp_path / "amd" / "broken.json").write_text("{", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"^error: "):
        main(["--results", str(tmp_path), "--docs", str(tmp_path)])

    assert not (tmp_path / "performance.md").exists()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ((16, 64), "cores for load and server; answers of 16 and 64 tokens, the same for all servers."),
        ((0, 64), "cores for load and server; half of the answers end themselves, the others have 64 tokens."),
        ((0, 0), "cores for load and server; answers end themselves."),
    ],
)
def test_a_load_says_how_long_its_answers_are(tokens: tuple[int, int], words: str) -> None:
    found = serving()
    found["settings"]["tokens"] = tokens

    written = "\n".join(serving_section(found))

    assert words in written and "translation/quantized, 4 beams, early stopping\n" in written


def test_every_choice_and_every_shape_has_its_figures(tmp_path: Path) -> None:
    (tmp_path / "compression").mkdir()
    (tmp_path / "compression" / ABLATION).write_text(json.dumps(ABLATIONS), encoding="utf-8")
    (tmp_path / "compression" / "hub-shapes.json").write_text(json.dumps(SHAPES), encoding="utf-8")

    main(["--results", str(tmp_path), "--docs", str(tmp_path)])

    written = (tmp_path / "compression.md").read_text(encoding="utf-8")
    assert "| wanda | 28.12 | 26.50 to 29.75 | 0.970 | - |" in written
    assert "| bf16 | 29.00 | - | - | 1 |" in written
    assert "| google-t5/t5-small | quantize | 12.3 | 242 | 1,342 | 100 | 5.13 | no |" in written
    assert "a machine (avx2), 2026-11-26; onnx 1." in written


@pytest.mark.parametrize("content", ["{", '{"rows": []}'])
def test_what_is_no_ablation_ends_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "compression").mkdir()
    (tmp_path / "compression" / ABLATION).write_text(content, encoding="utf-8")

    with pytest.raises(SystemExit, match=r"^error: .*ablation"):
        main(["--results", str(tmp_path), "--docs", str(tmp_path)])

    assert not (tmp_path / "compression.md").exists()
