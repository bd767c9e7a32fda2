import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import record
from benchmarks.pages import ROOT, main
from benchmarks.serving_lines import lines


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
        "runtime": None,
    }
    return record(task="translation", variant="quantized", settings=settings, **nothing) | changes


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


def test_records_and_markdown_stand_by_the_order_of_their_names(tmp_path: Path) -> None:
    second, text = serving(variant="compact"), "![Tokens a second](images/plot.png)"

    written = pages(tmp_path, **{"1": "# Title", "2": "## Memory", "3": serving(), "4": second, "5": text})

    parts = ("# Title", "## Memory", ": translation/quantized, 4", ": translation/compact, 4", text)
    places = [written.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("content", ["{", '{"other": 1}'])
def test_what_is_no_result_ends_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "amd").mkdir()
    (tmp_path / "amd" / "broken.json").write_text(content, encoding="utf-8")

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

    written = "\n".join(lines(found))

    assert words in written and "translation/quantized, 4 beams, early stopping\n" in written
