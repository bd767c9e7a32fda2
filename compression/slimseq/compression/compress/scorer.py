"""Runs a command of the user's that scores outputs, such as COMET or AlignScore in an environment of its own.

The command reads one JSON object a line from its standard input, with `source`, `output` and `reference`, and writes
one number a line to its standard output, in the same order. Higher is better. What it writes to standard error is shown
where it fails. No shell runs it.
"""

import json
import math
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from slimseq.compression.errors import BadParameters
from slimseq.models_store.errors import MAX_REASON, SlimseqError, printable

# Seconds of one call for each pair, and for loading a model: a large one takes minutes without a GPU.
LOADING_SECONDS = 600.0
PAIR_SECONDS = 5.0


class ScorerFailed(SlimseqError):
    """Raised when the command of `--scorer` fails, takes too long, or does not write one number for each pair."""


def run_scorer(
    command: str,
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[str],
    seconds: float | None = None,
) -> list[float]:
    """Scores outputs with a command; returns one number for each.

    Args:
        command: words as a shell takes them. Quotes work; variables and pipes do not.
        sources: of the outputs.
        outputs: what a variant wrote.
        references: what it should write.
        seconds: after which the command is stopped. By default ten minutes, and five seconds for each output.

    Raises:
        BadParameters: the command is empty, has an open quote, or no program of its name can be run.
        ScorerFailed: it ended with an error, took too long, or did not write one finite number for each output.
    """
    words = _words(command)
    program, count = words[0], len(outputs)
    limit = seconds if seconds is not None else LOADING_SECONDS + PAIR_SECONDS * count
    lines = [
        json.dumps({"source": source, "output": output, "reference": reference}, ensure_ascii=False)
        for source, output, reference in zip(sources, outputs, references, strict=True)
    ]
    text = "".join(f"{line}\n" for line in lines)
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise BadParameters(f"--scorer {command!r} cannot be run: {error.strerror or error}") from error
    with process:
        try:
            scores, errors = process.communicate(text.encode(), timeout=limit)
        except BaseException as error:
            # The command may be a script that started others. All of them may have ended by now.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ScorerFailed(
                    f"--scorer {program!r} took longer than {limit:g} s for {count:,} outputs"
                ) from error
            raise
    if process.returncode != 0:
        raise ScorerFailed(f"--scorer {program!r} ended with exit code {process.returncode}{_reason(errors)}")
    written = scores.decode(errors="replace").split("\n")
    # The last line ends with a line break.
    while written and not written[-1].strip():
        written.pop()
    if len(written) != count:
        raise ScorerFailed(
            f"--scorer {program!r} wrote {len(written):,} lines for {count:,} outputs: it must write one number a line"
            f"{_reason(errors)}"
        )
    return [_number(program, place, line) for place, line in enumerate(written, start=1)]


def check_scorer(command: str, sources: Sequence[str], references: Sequence[str], seconds: float | None = None) -> None:
    """Checks with a few pairs that a command works, and that higher is better.

    References must score more as outputs than the references of other pairs do.

    Raises:
        BadParameters: the command cannot be run, or it gives wrong outputs at least the score of right ones.
        ScorerFailed: as `run_scorer` does.
    """
    right = run_scorer(command, sources, references, references, seconds)
    shifted = [*references[1:], *references[:1]]
    wrong = run_scorer(command, sources, shifted, references, seconds)
    if sum(wrong) >= sum(right):
        count = len(references)
        raise BadParameters(
            f"--scorer {_words(command)[0]!r}: the references score {sum(right) / count:g} as outputs, and the "
            f"references of other pairs {sum(wrong) / count:g}: higher must be better"
        )


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadParameters(f"--scorer {command!r}: {error}") from error
    if not words:
        raise BadParameters("--scorer names no command")
    return words


def _number(program: str, place: int, line: str) -> float:
    try:
        number = float(line)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        shown = printable(line.strip()[:MAX_REASON])
        raise ScorerFailed(f"--scorer {program!r}, line {place:,}: {shown!r} is no finite number")
    return number


def _reason(written: bytes) -> str:
    """Returns the last line that a command wrote to standard error, after a colon; nothing if there is none."""
    lines = written.decode(errors="replace").strip().splitlines()
    return f": {printable(lines[-1].strip()[:MAX_REASON])}" if lines else ""
