"""`python -m benchmarks.peer_child`: one process of `benchmarks.peers`, asked over its standard input.

It makes models and systems' files, or holds one open system. Each line that comes in is a JSON object, and so is each
answer: what came of it, or `error` with the reason in one line. What libraries print goes to standard error instead.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peer_systems import SYSTEMS, Generate, Place
from slimseq.evaluation.fastest import Layout
from slimseq.evaluation.host import resident_bytes
from slimseq.models_store.manifest import GenerationOptions, Task

Message = dict[str, Any]
Handler = Callable[[Message], Message]

BYTES_OF_KILOBYTE = 1024
STATUS = Path("/proc/self/status")
# Writing 5 here makes Linux count the peak from now on.
CLEAR = Path("/proc/self/clear_refs")


def make(place: Place, message: Message) -> Message:
    """Makes the random model, or the files of the system, that a message names."""
    if "shape" in message:
        from benchmarks.hub_shapes import publish_random
        from benchmarks.peer_models import SHAPES

        publish_random(*SHAPES[message["shape"]], place.folder)
    else:
        SYSTEMS[message["system"]].prepare(place)
    return {}


def run(generate: Generate, message: Message) -> Message:
    """Generates once; returns how long it took, what it gave, and the peak of memory since `is_first` last came."""
    options = GenerationOptions(**message["options"])
    if message.get("is_first"):
        with contextlib.suppress(OSError):
            CLEAR.write_text("5", encoding="ascii")
    started = time.perf_counter()
    tokens = generate(message["rows"], options)
    return {"seconds": time.perf_counter() - started, "tokens": tokens, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Returns the most bytes of memory that this process has held."""
    if STATUS.exists():
        # `ru_maxrss` of a child begins with its parent's on Linux.
        lines = STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * BYTES_OF_KILOBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * BYTES_OF_KILOBYTE


def serve(begin: Callable[[], tuple[Message, Handler]], answers: TextIO) -> None:
    """Begins, says what came of it, and answers one message after the other until there are no more.

    Args:
        begin: returns the first answer, and what answers each message.
        answers: where answers go.
    """
    try:
        answer, handle = begin()
    except Exception as error:  # whatever a library raises leaves its system out
        tell({"error": one_line(error)}, answers)
        return
    tell(answer, answers)
    for line in sys.stdin:
        try:
            answer = handle(json.loads(line))
        except Exception as error:  # as above
            answer = {"error": one_line(error)}
        tell(answer, answers)


def tell(answer: Message, answers: TextIO) -> None:
    """Writes one answer."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def one_line(error: Exception) -> str:
    """Returns what an error says, without the rest of a long story."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer_child", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the model's")
    parser.add_argument("--task", type=Task, required=True)
    parser.add_argument("--system", help="to hold open; without it, files are made")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    place = Place(given.folder, given.task)

    def begin() -> tuple[Message, Handler]:
        if given.system is None:
            return {}, lambda message: make(place, message)
        generate = SYSTEMS[given.system].open(place, Layout(given.workers, given.threads))
        return {"loaded_bytes": resident_bytes()}, lambda message: run(generate, message)

    serve(begin, answers)


if __name__ == "__main__":
    main()
