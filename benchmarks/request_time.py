"""`python -m benchmarks.request_time`: where the time of a small request goes, in microseconds by step.

The service runs in a process of its own, with marks between the steps (`benchmarks.systems.timed_service`). One client
sends short texts of the bundled sample with default options, and waits for each answer. A figure is the median over the
requests. The service's own time is that from the first bytes of a request to the moment at which its answer is written.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from benchmarks.command import BenchmarkFailed, Record, make_parser, measured_on, record, run, say, search_name, table
from benchmarks.loads.load import WARMUP_SHARE, Request, make_requests
from benchmarks.systems.servers import Setup, running, timed_slimseq
from benchmarks.systems.timed_service import AFTERWARDS, STEPS
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

MICROSECONDS_A_MILLISECOND = 1000.0
HEAD = ("step", "what it is")


@dataclass(frozen=True)
class SmallRequest(Request):
    """A request that has a text and nothing else."""

    @property
    def body(self) -> dict[str, str]:
        return {"text": self.text}


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures the variants of both tasks that the options name."""
    found = record(settings={"seconds": given.seconds, "threads": given.threads or available_cores()}, requests=[])
    for task, variant in ((Task.TRANSLATION, given.translation), (Task.SUMMARIZATION, given.summarization)):
        if not variant:
            continue
        setup = Setup(Store(given.store), task, variant, scratch, found["settings"]["threads"])
        say(f"{task}/{variant}")
        found["requests"].append(measure_variant(setup, given.seconds))
    return found


def measure_variant(setup: Setup, seconds: float) -> Record:
    """Measures the requests of one client to one variant."""
    # Every other request of these is a short one.
    requests = [SmallRequest(each.text, each.options) for each in make_requests(setup.manifest)[::2]]
    file = setup.scratch / f"{setup.task}.json"
    with running(timed_slimseq(setup, file), setup.scratch, requests) as client:
        figures = client.closed(1, seconds)
    if figures.errors:
        raise BenchmarkFailed(f"{setup.task}/{setup.variant}: {figures.first_error}")
    times: list[Mapping[str, Mapping[str, float]]] = json.loads(file.read_text(encoding="utf-8"))
    warmed_up = times[int(len(times) * WARMUP_SHARE) :]
    if not warmed_up or figures.p50_ms is None:
        raise BenchmarkFailed(f"{setup.task}/{setup.variant}: no request was answered in {seconds:g} seconds")
    return {
        "task": setup.task.value,
        "variant": setup.variant,
        "num_beams": requests[0].options.num_beams,
        "characters": round(mean(len(each.text) for each in requests)),
        "answers": len(warmed_up),
        "client_us": figures.p50_ms * MICROSECONDS_A_MILLISECOND,
        **medians(warmed_up),
    }


def medians(times: Sequence[Mapping[str, Mapping[str, float]]]) -> Record:
    """Returns the medians of each step and of the sums of the steps, over some requests.

    Args:
        times: `time_us` and `loop_us` of each request, both by step, in microseconds.
    """
    return {
        "total_us": median(_total(each["time_us"]) for each in times),
        "loop_total_us": median(_total(each["loop_us"]) for each in times),
        "time_us": {step: median(each["time_us"][step] for each in times) for step in STEPS},
        "loop_us": {step: median(each["loop_us"][step] for each in times) for step in STEPS},
    }


def _total(times: Mapping[str, float]) -> float:
    """Returns the time from the first bytes to the answer."""
    return sum(time for step, time in times.items() if step != AFTERWARDS)


def head(requests: Sequence[Record]) -> list[str]:
    """Returns the head of the table of some measured variants."""
    columns = list(HEAD)
    for each in requests:
        name = f"{each['task']}/{each['variant']}, {search_name(each['num_beams'])}, {each['characters']} characters"
        columns += [f"{name}: µs", "CPU of the event loop, µs"]
    return columns


def step_rows(requests: Sequence[Record]) -> Iterator[list[str]]:
    """Yields a row for each step, one for all steps, and one for what the client sees."""
    for step, description in STEPS.items():
        figures = [figure for each in requests for figure in (each["time_us"][step], each["loop_us"][step])]
        yield [step, description, *map(_microseconds, figures)]
    totals = [figure for each in requests for figure in (each["total_us"], each["loop_total_us"])]
    yield ["all but the log", "from the first bytes to the answer", *map(_microseconds, totals)]
    of_clients = [cell for each in requests for cell in (_microseconds(each["client_us"]), "-")]
    yield ["the client", "what one client measures", *of_clients]


def _microseconds(figure: float) -> str:
    return f"{figure:,.0f}"


def lines(found: Record) -> Iterator[str]:
    """Yields a record as Markdown."""
    settings = found["settings"]
    yield from ("## Where the time of a small request goes", "")
    yield (
        f"`python -m benchmarks.request_time`, one client, {settings['seconds']:g} s a variant, {settings['threads']} "
        "cores for client and server; medians over the requests."
    )
    yield from ("", measured_on(found), "")
    yield from table(head(found["requests"]), step_rows(found["requests"]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("request_time", __doc__)
    parser.add_argument("--translation", default="quantized", metavar="VARIANT", help="that translates; empty: none")
    parser.add_argument("--summarization", default="quantized", metavar="VARIANT", help="that summarizes; empty: none")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the load on each variant")
    parser.add_argument("--threads", type=int, default=0, help="of the service; all cores by default")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
