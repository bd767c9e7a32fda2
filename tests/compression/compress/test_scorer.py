"""A command of the user's scores outputs; what it does wrong is one clear line."""

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.compress.scorer import ScorerFailed, check_scorer, run_scorer
from slimseq.compression.errors import BadParameters

SOURCES = ["Good morning.", "It is late.", 'A line\nand "another".']
OUTPUTS = ["Bom dia.", "É tarde.", "Uma linha"]
REFERENCES = ["Bom dia.", "Está tarde.", 'Uma linha\ne "outra".']

# The share of a reference's words that the output has.
OVERLAP = """
import json, sys
for line in sys.stdin:
    pair = json.loads(line)
    assert sorted(pair) == ["output", "reference", "source"], pair
    wanted = pair["reference"].split()
    print(sum(word in pair["output"].split() for word in wanted) / len(wanted))
"""


def command(folder: Path, program: str) -> str:
    path = folder / "my scorer.py"
    path.write_text(program, encoding="utf-8")
    return shlex.join([sys.executable, "-X", "utf8", str(path)])


def score(command: str, seconds: float | None = None) -> list[float]:
    return run_scorer(command, SOURCES, OUTPUTS, REFERENCES, seconds)


def test_a_command_scores_each_output_in_order(tmp_path: Path) -> None:
    assert score(command(tmp_path, OVERLAP)) == [1.0, 0.5, 0.5]


def test_thousands_of_outputs_pass_through_at_once(tmp_path: Path) -> None:
    """More than a pipe holds: the command writes while it still reads."""
    count = 20_000
    texts = [f"text {number} " * 10 for number in range(count)]

    found = run_scorer(command(tmp_path, OVERLAP), texts, texts, texts)

    assert found == [1.0] * count


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('no such model: comet\\n')", "ended with exit code 1: no such model: comet"),
        ("raise ValueError('bad weights')", "ended with exit code 1: ValueError: bad weights"),
        ("print(1.0)", "wrote 1 lines for 3 outputs: it must write one number a line"),
        ("pass", "wrote 0 lines for 3 outputs"),
        ("print('1\\n2\\n3\\n4')", "wrote 4 lines for 3 outputs"),
        ("print('0.5\\nsystem: 0.7\\n0.5')", "line 2: 'system: 0.7' is no finite number"),
        ("print('0.5\\n0.5\\nnan')", "line 3: 'nan' is no finite number"),
        ("print('inf\\n0.5\\n0.5')", "line 1: 'inf' is no finite number"),
        ("print('0.5\\n\\n0.5')", "line 2: '' is no finite number"),
        ("print('\\x1b[31m\\n1\\n2')", r"line 1: '\\x1b[31m' is no finite number"),
        ("import sys; sys.stdin.close(); print(3)", "wrote 1 lines for 3 outputs"),
    ],
)
def test_what_a_command_does_wrong_is_one_line(program: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScorerFailed) as failed:
        score(command(tmp_path, program))

    assert words in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_command_that_takes_too_long_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(alive)!r}).touch()"
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    started = time.monotonic()

    with pytest.raises(ScorerFailed, match=r"took longer than 1 s for 3 outputs"):
        score(command(tmp_path, program), seconds=1)

    assert time.monotonic() - started < 30
    time.sleep(3)
    assert not alive.exists()


def test_an_interrupt_after_the_command_has_ended_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    communicate = subprocess.Popen.communicate

    def interrupted(process: "subprocess.Popen[bytes]", *arguments: Any, **options: Any) -> None:
        communicate(process, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)

    with pytest.raises(KeyboardInterrupt):
        score(command(tmp_path, OVERLAP))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "--scorer names no command"),
        ("/no/such/program --model x", "'/no/such/program --model x' cannot be run: No such file or directory"),
        ("python 'open", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(words: str, complaint: str) -> None:
    with pytest.raises(BadParameters, match=complaint):
        score(words)


def test_a_metric_of_which_lower_is_better_is_refused(tmp_path: Path) -> None:
    errors = OVERLAP.replace("print(", "print(1 - ")

    check_scorer(command(tmp_path, OVERLAP), SOURCES, REFERENCES)
    with pytest.raises(
        BadParameters, match=r"the references score 0 as outputs, and the references of other pairs 1: higher must be"
    ):
        check_scorer(command(tmp_path, errors), SOURCES, REFERENCES)
