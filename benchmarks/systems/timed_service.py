"""`python -m benchmarks.systems.timed_service FILE`: the service, which notes what it is doing and when.

It is the real service, with its settings from `SLIMSEQ_*`. Before it starts, some functions are replaced by ones that
also note a mark: the time, and the step that begins. So the service itself has no code for this. The marks make sense
for one client that waits for each answer: then one thread at a time works on the request. When the service stops, it
writes the times of each request to FILE (`measure_requests`).
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from slimseq.app.__main__ import main
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.middleware import ServiceMiddleware
from slimseq.app.http.protocol import LimitedProtocol
from slimseq.app.serving.batching.continuous import ContinuousBatching
from slimseq.app.serving.batching.request import QueuedRequest
from slimseq.inference.engine.engine import OnnxEngine
from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.rows import Plan
from slimseq.models_store.files import write_text

# The steps of a request in their order, and what each is.
STEPS = {
    "parse": "HTTP, key, limits, JSON, fields",
    "plan": "variant, options, sentences, tokens; for an article on a thread",
    "queue": "fair queueing, until the row starts",
    "switch": "to other threads and back",
    "batching": "rows join and leave the engine",
    "encode": "the encoder",
    "steps": "decoder and search",
    "decode": "tokens to text",
    "checks": "spans, text, warnings",
    "response": "id, metrics, JSON, HTTP",
    "log": "metrics and line of the request, after the answer",
}
# The first step, which the first bytes of a request begin, and the step that is no part of the answer's time.
FIRST, AFTERWARDS = "parse", "log"
# The answer is written, or what comes after it is done.
IDLE = "idle"
# A timeline without this step is no generation, such as a probe of the service's health.
GENERATES = "encode"
MICROSECONDS = 1e6


class Mark(NamedTuple):
    """From `time` on (`time.perf_counter`), the service does `step`. `cpu` is the thread's CPU time at this moment."""

    time: float
    step: str
    thread: int
    cpu: float


class RequestTimes(NamedTuple):
    """The microseconds of each step of one request, and those of CPU time of the event loop's thread among them."""

    time_us: dict[str, float]
    loop_us: dict[str, float]


class Probe(NamedTuple):
    """A function of a class that begins a step, or ends one: then the step `after` begins."""

    owner: type[Any]
    function: str
    step: str | None = None
    after: str | None = None


PROBES = (
    Probe(LimitedProtocol, "data_received", step="parse"),
    Probe(GenerationService, "_begin", step="plan"),
    Probe(ContinuousBatching, "submit", step="queue", after="switch"),
    Probe(ContinuousBatching, "_fill", step="queue", after="batching"),
    Probe(OnnxEngine, "admit", step="encode", after="batching"),
    Probe(OnnxEngine, "step", step="steps", after="batching"),
    Probe(TextGenerator, "output", step="decode", after="batching"),
    Probe(QueuedRequest, "_resolve", after="switch"),
    # `wait` calls it once the outputs are back on the event loop.
    Probe(ContinuousBatching, "abandon", step="checks"),
    # An article is planned and checked on another thread.
    Probe(Plan, "checked", step="checks", after="switch"),
    Probe(GenerationService, "_measure", step="response"),
    Probe(ServiceMiddleware, "_record", step="log", after=IDLE),
    Probe(LimitedProtocol, "_write_held", after=IDLE),
)


def note_marks(probes: Sequence[Probe] = PROBES) -> list[Mark]:
    """Replaces the functions of the probes. Returns the list to which they append their marks from now on."""
    marks: list[Mark] = []

    def note(step: str) -> None:
        marks.append(Mark(time.perf_counter(), step, threading.get_ident(), time.thread_time()))

    for probe in probes:
        setattr(probe.owner, probe.function, _noting(getattr(probe.owner, probe.function), probe, marks, note))
    return marks


def _noting(
    function: Callable[..., Any], probe: Probe, marks: list[Mark], note: Callable[[str], None]
) -> Callable[..., Any]:
    @wraps(function)
    def noting(*arguments: Any, **options: Any) -> Any:
        if probe.step:
            note(probe.step)
        result = function(*arguments, **options)
        # After `submit` has woken the engine's thread, this thread may be here later than the other one is at work.
        is_overtaken = bool(marks) and marks[-1].thread != threading.get_ident()
        if probe.after and not is_overtaken:
            note(probe.after)
        return result

    return noting


def measure_requests(marks: Iterable[Mark], loop_thread: int) -> Iterator[RequestTimes]:
    """Yields the times of each request that has generated something. `loop_thread` is that of the event loop."""
    for timeline in _timelines(sorted(marks)):
        if all(mark.step != GENERATES for mark in timeline):
            continue
        times = RequestTimes(dict.fromkeys(STEPS, 0.0), dict.fromkeys(STEPS, 0.0))
        for mark, following in pairwise(timeline):
            if mark.step != IDLE:
                times.time_us[mark.step] += (following.time - mark.time) * MICROSECONDS
        on_loop = [mark for mark in timeline if mark.thread == loop_thread]
        for mark, following in pairwise(on_loop):
            if mark.step != IDLE:
                times.loop_us[mark.step] += (following.cpu - mark.cpu) * MICROSECONDS
        yield times


def _timelines(marks: Iterable[Mark]) -> Iterator[list[Mark]]:
    """Yields the marks of each request that was answered, up to the first bytes of the next one."""
    timeline: list[Mark] = []
    is_answered = False
    for mark in marks:
        if mark.step == FIRST and is_answered:
            yield timeline
            timeline, is_answered = [], False
        timeline.append(mark)
        is_answered = is_answered or mark.step == IDLE
    if is_answered:
        yield timeline


if __name__ == "__main__":
    noted = note_marks()
    code = main()
    found = [times._asdict() for times in measure_requests(noted, threading.get_ident())]
    write_text(Path(sys.argv[1]), json.dumps(found))
    sys.exit(code)
