"""`slimseq generate` as users run it: killed and started again, piped, with bad rows, and with files of any size."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from slimseq.models_store.store import Store
from tests.command_line import compression, invoked
from tests.compression.prepared_store import prepared
from tests.forking import Forked, start

ROWS = 20_000
KILLS = 10
# Windows that a run finishes at most before it is killed. The job has 79.
MAX_WINDOWS = 5
# Time until a window is finished, on a busy machine.
WINDOW_SECONDS = 240.0
TEXT = "Good morning.\nThe children are playing in the garden.\n"
TRANSLATED = "Guten Morgen.\nDie Kinder spielen im Garten.\n"


@pytest.fixture
def tiny(tmp_path: Path) -> Store:
    """A store with a tiny translator of random weights, which writes a few tokens in no time."""
    return prepared(tmp_path).store


def command(store: Store, data: Path, out: Path, *options: object) -> list[str]:
    words: list[object] = ["generate", "translation", "quantized", "--data", data, "--out", out, "--store", store.root]
    words += ["--as-is", "--num-beams", 1, "--max-new-tokens", 4, *options]
    return list(map(str, words))


def numbered_rows(path: Path, rows: int, filling: str = "") -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"id": number, "text": f"Row {number} of the garden.", "filling": filling}
            file.write(json.dumps(row) + "\n")
    return path


def finished_windows(out: Path) -> int:
    """Returns the number of windows that the journal has. Its first line is the key."""
    journal = out.with_name(out.name + ".journal")
    return max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0


def kill_after_windows(process: Forked, out: Path, windows: int, seconds: float) -> None:
    """Kills a command at a moment after some further windows. Its workers end by themselves."""
    deadline = time.monotonic() + WINDOW_SECONDS
    before = finished_windows(out)
    while process.poll() is None and finished_windows(out) < before + windows:
        assert time.monotonic() < deadline, f"{finished_windows(out)} windows are finished"
        time.sleep(0.005)
    time.sleep(seconds)
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait(60)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


@pytest.mark.timeout(900)
def test_a_job_that_is_killed_at_ten_moments_ends_in_the_same_bytes(tiny: Store, tmp_path: Path) -> None:
    data = numbered_rows(tmp_path / "data.jsonl", ROWS)
    with data.open("a", encoding="utf-8") as file:
        file.write('{"text": 5}\n')
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert compression(*command(tiny, data, whole)).code == 1
    drawn = random.Random(53)

    kills = 0
    for _ in range(KILLS):
        process = start(["slimseq", *command(tiny, data, out)], os.environ, tmp_path / "log", tmp_path / "log")
        kill_after_windows(process, out, drawn.randint(0, MAX_WINDOWS), drawn.uniform(0, 0.2))
        kills += process.returncode == -signal.SIGKILL
    assert not out.exists()
    done = compression(*command(tiny, data, out, "--json"))

    assert kills == KILLS
    assert done.code == 1 and f"1 of {ROWS + 1:,} rows could not be done" in done.error
    assert 0 < done.json["resumed_at"] < ROWS
    assert out.read_bytes() == whole.read_bytes()
    errors = "out.jsonl.errors.jsonl"
    assert (tmp_path / errors).read_bytes() == (tmp_path / "whole.jsonl.errors.jsonl").read_bytes()
    assert [path.name for path in tmp_path.glob("out.jsonl*")] == ["out.jsonl", errors]


def test_ctrl_c_says_that_the_same_command_goes_on(tiny: Store, tmp_path: Path) -> None:
    data, out, log = numbered_rows(tmp_path / "data.jsonl", 5000), tmp_path / "out.jsonl", tmp_path / "log"
    process = start(["slimseq", *command(tiny, data, out, "--workers", 1)], os.environ, log, log)
    while process.poll() is None and not finished_windows(out):
        time.sleep(0.005)

    process.send_signal(signal.SIGINT)
    process.wait(60)

    assert process.returncode == 130, log.read_text()
    assert "rows are done. The same command goes on where it stopped" in log.read_text()
    assert "Traceback" not in log.read_text()
    again = compression(*command(tiny, data, out, "--json"))
    assert again.code == 0 and again.json["resumed_at"] > 0


def peak_bytes(process: Forked) -> int:
    """Returns the most memory that a command had until its end, without that of its workers."""
    peak = 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.005)
    return peak


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tiny: Store, tmp_path: Path) -> None:
    peaks = []
    # Files of 5 and 100 MB.
    for rows in (50, 1000):
        data, out = numbered_rows(tmp_path / f"{rows}.jsonl", rows, "x" * 100_000), tmp_path / f"{rows}.out.jsonl"
        process = start(
            ["slimseq", *command(tiny, data, out, "--workers", 1)], os.environ, tmp_path / "log", tmp_path / "log"
        )
        peaks.append(peak_bytes(process))
        assert process.returncode == 0, (tmp_path / "log").read_text()
        assert out.stat().st_size > data.stat().st_size

    assert peaks[1] - peaks[0] < 40e6


@pytest.fixture
def translated(embedded: Store) -> list[str]:
    """The command that translates with the embedded translator, without files."""
    return ["generate", "translation", "quantized", "--store", str(embedded.root), "--workers", "1"]


def test_lines_can_be_piped_through(translated: list[str]) -> None:
    words = [sys.executable, "-m", "slimseq", *translated, "--data", "-", "--out", "-"]

    done = subprocess.run(words, input=TEXT.encode(), capture_output=True, timeout=280)

    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == TRANSLATED
    assert b"2 rows, 9 words" in done.stderr


def test_progress_is_a_line_every_few_seconds_and_the_summary_is_json(tiny: Store, tmp_path: Path) -> None:
    data = numbered_rows(tmp_path / "data.jsonl", 600)

    done = compression(*command(tiny, data, tmp_path / "out.jsonl", "--json"))

    assert done.json.keys() >= {"rows", "errors", "words", "output_tokens", "seconds", "workers", "runtime", "digest"}
    assert done.json["rows"] == 600


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--num-beams", "99"], "num_beams: Input should be less than or equal to 16"),
        (["--long-input", "map_reduce"], "--long-input has no effect for translation; leave it out"),
        (["--as-is", "--format", "html"], "--format has no effect with --as-is; leave it out"),
        (["--glossary", "absent.csv"], "absent.csv: No such file or directory"),
        (["--field", "body"], "has no field 'body'; it has text"),
        (["--temperature", "0.5"], "temperature has no effect without do_sample"),
        (["--runtime", "fast"], "fast"),
        (["--parts", "3"], "--parts has no effect without --on ray; leave it out"),
        (["--on", "spark"], "--on"),
    ],
)
def test_a_wrong_option_is_one_line_before_any_work(
    translated: list[str], tmp_path: Path, options: list[str], reason: str
) -> None:
    data = tmp_path / "data.txt"
    data.write_text(TEXT)

    done = invoked(*translated, "--data", data, "--out", tmp_path / "out.txt", *options)

    assert done.code == 1 and done.out == ""
    assert reason in done.error and done.error.startswith("error: ") and done.error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [data]


def test_options_of_a_request_do_what_they_do_there(translated: list[str], tmp_path: Path) -> None:
    data, glossary = tmp_path / "data.jsonl", tmp_path / "terms.csv"
    data.write_text('{"page": "<p>The <b>garden</b> of Slimseq costs $1,299.99.</p>"}\n')
    glossary.write_text("garden,Park\n")
    options = ["--field", "page", "--format", "html", "--glossary", glossary, "--keep", "Slimseq", "--num-beams", 2]

    done = invoked(*translated, "--data", data, "--out", tmp_path / "out.jsonl", *options)

    assert done.code == 0, done.error
    output = json.loads((tmp_path / "out.jsonl").read_text())["output"]
    assert "<b>" in output and "Park" in output and "Slimseq" in output and "1.299,99" in output


@pytest.mark.parametrize("absent", ["ray", "pandas"])
def test_a_job_on_ray_without_ray_names_the_extra(
    translated: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    def find_spec(name: str) -> object:
        return None if name == absent else object()

    monkeypatch.setattr("slimseq.cli.generate.importlib.util.find_spec", find_spec)
    (tmp_path / "data.txt").write_text(TEXT)

    done = invoked(*translated, "--data", tmp_path / "data.txt", "--out", tmp_path / "out", "--on", "ray")

    assert done.code == 1 and len(done.error.splitlines()) == 1
    assert "--on ray needs Ray: " in done.error and "[cluster]" in done.error
    assert not (tmp_path / "out").exists()
