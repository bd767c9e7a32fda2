import json
from pathlib import Path

import pytest

from benchmarks.peer_results import Results, Row, Setting
from benchmarks.performance_page import main
from benchmarks.residency import Residency, State
from benchmarks.serving_results import Results as ServingResults


def row(system: str, batch: int, tokens_per_second: float) -> Row:
    return Row(
        setting=Setting("tiny-t5", batch, 1),
        system=system,
        layout="1x1",
        layouts={"1x1": tokens_per_second},
        repeats=2,
        input_tokens=4,
        new_tokens=4,
        tokens_per_second=tokens_per_second,
        p50_ms=10,
        p95_ms=10,
        least_ms=10,
        first_token_ms=1.25,
        loaded_bytes=1_000_000,
        peak_bytes=2_000_000,
    )


def test_speeds_stand_beside_each_other_and_ratios_name_the_engine_and_the_fastest_runtime(tmp_path: Path) -> None:
    results = Results({"threads": 2, "new_tokens": 4, "input_tokens": 4})
    results.rows = [
        row("slimseq-onnxruntime-int8", 1, 300),
        row("slimseq-onnxruntime-int8", 8, 2400),
        row("slimseq-ctranslate2-int8", 1, 450),
        row("slimseq-ctranslate2-int8", 8, 1200),
        row("ctranslate2-int8", 1, 600),
        row("ctranslate2-int8", 8, 1200),
    ]
    results.left_out["tiny-t5: optimum-int8"] = "there is none"
    measured, out = tmp_path / "peers.json", tmp_path / "performance.md"
    measured.write_text(results.as_json(), encoding="utf-8")

    main(["--peers", str(measured), "--out", str(out)])

    written = out.read_text(encoding="utf-8")
    assert "### tiny-t5, greedy" in written and results.host in written
    assert "| slimseq-onnxruntime-int8 | 300 | 2,400 | 1.2 | 2 |" in written
    assert "| ctranslate2-int8 | 0.50 (auto 0.75) | 2.00 (auto 2.00) |" in written
    assert "tiny-t5: optimum-int8 is left out: there is none" in written


def test_memory_stands_after_what_was_done(tmp_path: Path) -> None:
    found = Residency([State("load translation/quantized", 0.256, 150 * 2**20)])
    measured, out = tmp_path / "residency.json", tmp_path / "performance.md"
    measured.write_text(found.as_json(), encoding="utf-8")

    main(["--residency", str(measured), "--out", str(out)])

    assert "| load translation/quantized | 0.26 | 150 |" in out.read_text(encoding="utf-8")


def test_plots_are_named_relative_to_the_page(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    plot, out = tmp_path / "images" / "translation-quantized.png", tmp_path / "performance.md"

    main(["--plots", str(plot), "--out", str(out)])

    assert "translation-quantized](images/translation-quantized.png)" in out.read_text(encoding="utf-8")


def test_what_is_no_result_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text(json.dumps({})[:1], encoding="utf-8")

    with pytest.raises(SystemExit, match=r"^error: "):
        main(["--peers", str(tmp_path / "broken.json"), "--out", str(tmp_path / "page.md")])

    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ((16, 64), "cores for load and server; answers of 16 and 64 tokens, the same for all servers."),
        ((0, 64), "cores for load and server; half of the answers end themselves, the others have 64 tokens."),
        ((0, 0), "cores for load and server; answers end themselves."),
    ],
)
def test_a_load_says_how_long_its_answers_are(tmp_path: Path, tokens: tuple[int, int], words: str) -> None:
    options = {"num_beams": 4, "early_stopping": True}
    settings = {"tokens": tokens, "options": options, "seconds": 1, "threads": 2}
    measured, out = tmp_path / "serving.json", tmp_path / "performance.md"
    measured.write_text(ServingResults("translation", "quantized", settings).as_json(), encoding="utf-8")

    main(["--serving", str(measured), "--out", str(out)])

    written = out.read_text(encoding="utf-8")
    assert words in written and "translation/quantized, 4 beams, early stopping\n" in written
