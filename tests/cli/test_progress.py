"""Where output is piped, long work prints plain lines, and reads no more data than it needs."""

import io
import json
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from slimseq.cli.progress import progress_on
from tests.command_line import compression
from tests.compression.tiny import SENTENCES, tiny_file, tiny_store


def test_lines_report_the_innermost_task() -> None:
    out = io.StringIO()
    console = Console(file=out)
    with progress_on(console, line_seconds=0.05) as outer:
        outer.add_task("prune translation/original", total=None, status="")
        with progress_on(console) as inner:
            inner.add_task("Reading train.jsonl", total=None, status="")
            time.sleep(0.3)
        seen = len(out.getvalue())
        time.sleep(0.3)

    assert set(re.findall(r"^[^:]+", out.getvalue()[:seen], re.MULTILINE)) == {"Reading train.jsonl"}
    assert "prune translation/original: 0:00:0" in out.getvalue()[seen:]


def test_a_piped_training_prints_a_line_every_few_seconds(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    words = ("prune", "translation", "original", "--data", tiny_file(tmp_path), "--max-seconds", 12, "--json")

    done = compression(*words, "--store", context.store.root)

    assert done.code == 0, done.error
    assert done.json["variant"] == "pruned"
    lines = [line for line in done.error.splitlines() if line.startswith("Recovering: ")]
    assert lines, done.error
    assert re.fullmatch(r"Recovering: \d+ of 12 s, 0:\d\d:\d\d left, step \d+, training loss .* tokens/s", lines[0]), (
        lines[0]
    )
    assert "\r" not in done.error
    assert "\x1b" not in done.error


@pytest.mark.parametrize("verb", ["prune", "distill"])
def test_a_training_of_no_steps_reads_only_what_it_needs(tmp_path: Path, verb: str) -> None:
    context = tiny_store(tmp_path)
    good = json.dumps(dict(zip(("source", "target"), SENTENCES[0], strict=True)))
    data = tmp_path / "long.jsonl"
    data.write_text("\n".join([good] * 300 + ["the end of the file is broken"]) + "\n")
    words = (verb, "translation", "original", "--data", data, "--store", context.store.root)

    untrained = compression(*words, "--max-steps", 0)
    trained = compression(*words, "--max-steps", 1, "--name", "trained")

    assert untrained.code == 0, untrained.error
    assert "Nothing was trained" in untrained.out
    assert trained.code == 1
    assert "line 301 of long.jsonl" in trained.error
