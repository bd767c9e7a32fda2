"""The page of performance, from records as `peers` and `serving` write them."""

import json
from pathlib import Path
from typing import Any

from benchmarks.command import record
from benchmarks.pages import PAGE, ROOT, main
from benchmarks.systems.servers import PLAIN_LACKS
from benchmarks.systems.timed_service import STEPS


def page_of(folder: Path, **results: dict[str, Any]) -> str:
    """Writes records of one machine, makes the page of them, and returns the page."""
    (folder / "results" / "machine").mkdir(parents=True, exist_ok=True)
    (folder / "results" / "introduction.md").write_text("# Performance\n", encoding="utf-8")
    for name, found in results.items():
        (folder / "results" / "machine" / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    (folder / "docs").mkdir()
    main(["--results", str(folder / "results"), "--docs", str(folder / "docs")])
    return (folder / "docs" / PAGE).read_text(encoding="utf-8")


def row_of_peers(system: str, batch: int, tokens_per_second: float) -> dict[str, Any]:
    """Returns a row of a record of `peers`."""
    named = {"model": "tiny-t5", "beams": 1, "system": system, "batch": batch}
    return {**named, "tokens_per_second": tokens_per_second, "first_token_ms": 1.25, "peak_bytes": 2_000_000}


def test_the_page_in_docs_is_made_of_the_results_in_the_repository(tmp_path: Path) -> None:
    main(["--docs", str(tmp_path)])

    assert (tmp_path / PAGE).read_text(encoding="utf-8") == (ROOT / "docs" / PAGE).read_text(encoding="utf-8")


def test_a_row_has_the_speed_of_our_engine_and_its_ratio_to_each_peer(tmp_path: Path) -> None:
    rows = [
        row_of_peers("slimseq-onnxruntime-int8", 1, 300),
        row_of_peers("slimseq-onnxruntime-int8", 8, 2400),
        row_of_peers("slimseq-ctranslate2-int8", 1, 450),
        row_of_peers("ctranslate2-int8", 1, 600),
        row_of_peers("ctranslate2-int8", 8, 1200),
        row_of_peers("optimum-int8", 8, 600),
    ]
    found = record(settings={"threads": 2, "new_tokens": 4}, rows=rows, left_out={})

    written = page_of(tmp_path, peers=found)

    assert found["host"] in written
    assert "| tiny-t5, greedy | 300 · 2,400 | 0.50 · 2.00 | - · 4.00 | 1.2 | 2 |" in written
    assert "over optimum" in written
    assert "over transformers" not in written


def shape_row(system: str, beams: int, batch: int, tokens_per_second: float) -> dict[str, Any]:
    """Returns a row of a record of `peers --shapes`. Only the smallest batch has the time of the first token."""
    row = {"model": "bart-base", "beams": beams, "system": system, "batch": batch}
    row |= {"input_tokens": 1024.0, "new_tokens": 60, "tokens_per_second": tokens_per_second}
    row |= {"peak_bytes": 1_000_000_000 * batch, "load_seconds": 1.25 * beams}
    return row | {"first_token_ms": 250.0 * beams} if batch == 1 else row


def test_a_table_says_which_systems_failed(tmp_path: Path) -> None:
    left_out = {"bart-base: openvino-int8": "its process ended"}
    rows = [shape_row("slimseq-onnxruntime-int8", 1, 1, 300)]
    found = record(settings={"threads": 2, "shapes": ["bart-base"]}, rows=rows, left_out=left_out)

    written = page_of(tmp_path, shapes=found)

    assert "\n- bart-base: openvino-int8 is left out: its process ended\n" in written


def test_a_shape_has_one_row_with_both_searches_memory_and_time_to_load(tmp_path: Path) -> None:
    rows = [
        shape_row(system, beams, batch, speed * batch / beams)
        for batch in (1, 4)
        for beams in (1, 4)
        for system, speed in (("slimseq-onnxruntime-int8", 300), ("ctranslate2-int8", 200), ("openvino-int8", 100))
        # OpenVINO failed with the largest batch.
        if (system, batch, beams) != ("openvino-int8", 4, 4)
    ]
    found = record(settings={"threads": 2, "shapes": ["bart-base"]}, rows=rows, left_out={})

    written = page_of(tmp_path, shapes=found)

    greedy = "300 · 1,200 | 1.50 · 1.50 | 3.00 · 3.00"
    beams = "75 · 300 | 1.50 · 1.50 | 3.00 · -"
    costs = "250 · 250 · 250 | 4,000 · 4,000 · 4,000 | 5.0 · 5.0 · 5.0"
    assert f"| bart-base, 1024 → 60 | {greedy} | {beams} | {costs} |" in written
    assert "| over OpenVINO, greedy |" in written
    assert "forced lengths" in written.split("| bart-base")[0]
    assert written.count("bart-base") == 1, "the shape is in another table as well"


def test_firefox_engines_have_a_table_of_their_own(tmp_path: Path) -> None:
    measured = {"batch": 8, "texts": 100, "bleu": 46.04, "chrf": 66.5}
    engines = [
        measured | {"engine": "slimseq-int8-published", "seconds": 0.5, "words_per_second": 3000.0},
        measured | {"engine": "fxtranslate", "seconds": 1.0, "words_per_second": 1500.0},
    ]
    found = record(settings={"threads": 2, "shapes": []}, rows=[], left_out={}, translators=engines)

    written = page_of(tmp_path, firefox=found)

    assert "| engine, batch | words/s | times fxtranslate | ms a text | BLEU | chrF |" in written
    assert "| slimseq-int8-published, 8 | 3,000 | 2.00 | 5.0 | 46.0 | 66.5 |" in written
    assert "Generation in process" not in written, "a record without rows has an empty table"


def test_a_dated_record_is_kept_and_not_shown(tmp_path: Path) -> None:
    rows = [row_of_peers("slimseq-onnxruntime-int8", 1, 300), row_of_peers("ctranslate2-int8", 1, 600)]
    found = record(settings={"threads": 2, "new_tokens": 4}, rows=rows, left_out={})
    dated = tmp_path / "results" / "machine" / "dated"
    dated.mkdir(parents=True)
    (dated / "peers.json").write_text(json.dumps(found), encoding="utf-8")

    assert "tiny-t5" not in page_of(tmp_path)


def record_of_serving(tokens: list[int], other: str) -> dict[str, Any]:
    """Returns a record of `serving` with the service and another server."""

    def server(name: str, answers: float) -> dict[str, Any]:
        load = {"kind": "closed", "amount": 8, "figures": {"requests_per_second": answers}}
        return {"name": name, "description": "", "loads": [load, {"kind": "poisson", "amount": 9.5}]}

    ratio = {"median": 1.5, "least": 1.4, "most": 1.6}
    settings = {"tokens": tokens, "facts": True, "options": {"num_beams": 4}}
    contest = {"clients": 8, "ratios": {other: {"throughput": ratio, "p95": ratio | {"median": 1.45}}}}
    servers = [server("slimseq", 300), server(other, 200)]
    return record(task="translation", variant="compact", settings=settings, servers=servers, contest=contest)


def test_a_server_beside_the_service_has_a_row(tmp_path: Path) -> None:
    written = page_of(tmp_path, serving=record_of_serving([0, 0], "plain"))

    row = "| translation/compact, 4 beams, of any length with facts | plain | 300 (8) | 200 (8) |"
    assert f"{row} 1.50 (1.40 to 1.60) with 8 | 1.45 (1.40 to 1.60) |" in written
    assert f"`plain` is twelve lines: {PLAIN_LACKS}." in written


def test_the_steps_of_a_request_have_rows(tmp_path: Path) -> None:
    times = {step: 100.0 * number for number, step in enumerate(STEPS, 1)}
    measured = {
        **{"task": "translation", "variant": "compact", "num_beams": 2, "characters": 38, "answers": 9},
        **{"client_us": 9000.0, "total_us": 5500.0, "loop_total_us": 700.0, "time_us": times, "loop_us": times},
    }
    found = record(settings={"seconds": 5, "threads": 2}, requests=[measured])

    written = page_of(tmp_path, request=found)

    assert "## Where the time of a small request goes" in written
    assert "translation/compact, 2 beams, 38 characters: µs" in written
    assert f"| parse | {STEPS['parse']} | 100 | 100 |" in written
    assert "| all but the log | from the first bytes to the answer | 5,500 | 700 |" in written
    assert "| the client | what one client measures | 9,000 | - |" in written


def test_answers_that_end_by_themselves_come_first_and_forced_lengths_are_called_so(tmp_path: Path) -> None:
    # The forced record's name comes first in the folder.
    forced, free = record_of_serving([16, 64], "ctranslate2"), record_of_serving([0, 0], "ctranslate2")

    written = page_of(tmp_path, a_forced=forced, b_free=free)

    headline, below = written.split("## The service under load, forced lengths")
    assert "of any length" in headline and "16 and 64" not in headline
    assert "of forced 16 and 64 tokens" in below and "of any length" not in below
    assert "twelve lines" not in written, "no table has them"
