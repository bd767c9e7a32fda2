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

LINE_SECONDS = 0.05
# Long enough for several lines.
SEVERAL_LINES_SECONDS = 0.3


def test_lines_report_the_innermost_task() -> None:
    out = io.StringIO()
    console = Console(file=out)

    with progress_on(console, line_seconds=LINE_SECONDS) as outer:
        outer.add_task("prune translation/original", total=None, status="")
        with progress_on(console) as inner:
            inner.add_task("Reading train.jsonl", total=None, status="")
            time.sleep(SEVERAL_LINES_SECONDS)
        during_inner_task = out.getvalue()
        time.sleep(SEVERAL_LINES_SECONDS)
    after_inner_task = out.getvalue().removeprefix(during_inner_task)

    # A line is `DESCRIPTION: TIME elapsed`.
    descriptions = {line.split(":")[0] for line in during_inner_task.splitlines()}
    assert descriptions == {"Reading train.jsonl"}
    assert "prune translation/original: 0:00:0" in after_inner_task


def test_a_piped_training_prints_a_line_every_few_seconds(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    # Two lines, one every 5 s.
    max_seconds = 12
    arguments = ("prune", "translation", "original", "--data", tiny_file(tmp_path), "--max-seconds", max_seconds)

    done = compression(*arguments, "--json", "--store", context.store.root)

    assert done.code == 0, done.error
    assert done.json["variant"] == "pruned"
    lines = [line for line in done.error.splitlines() if line.startswith("Recovering: ")]
    assert lines, done.error
    line = re.compile(r"Recovering: \d+ of 12 s, 0:\d\d:\d\d left, step \d+, training loss .* tokens/s")
    assert line.fullmatch(lines[0]), lines[0]
    # Neither carriage returns nor escape sequences, which are for terminals.
    assert "\r" not in done.error
    assert "\x1b" not in done.error


@pytest.mark.parametrize("verb", ["prune", "distill"])
def test_a_training_of_no_steps_does_not_read_the_end_of_its_data(tmp_path: Path, verb: str) -> None:
    context = tiny_store(tmp_path)
    source, target = SENTENCES[0]
    good_line = json.dumps({"source": source, "target": target})
    data = tmp_path / "long.jsonl"
    # Without a training, fewer than 300 pairs are read. A training reads all of them, and finds the last line broken.
    data.write_text(f"{good_line}\n" * 300 + "the end of the file is broken\n")
    arguments = (verb, "translation", "original", "--data", data, "--store", context.store.root)

    untrained = compression(*arguments, "--max-steps", 0)
    trained = compression(*arguments, "--max-steps", 1, "--name", "trained")

    assert untrained.code == 0, untrained.error
    assert "Nothing was trained" in untrained.out
    assert trained.code == 1
    assert "line 301 of long.jsonl" in trained.error
