"""`python -m benchmarks.first_piece`: when the first piece of a streamed answer comes, with beams and greedy.

Texts are streamed one at a time, with the variant's own beams and greedy in turns.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.command import (
    MILLISECONDS,
    BenchmarkFailed,
    Record,
    add_variant,
    measured_on,
    number,
    parser_of,
    record,
    run,
    table,
)
from benchmarks.loads.load import HOST
from benchmarks.systems.servers import running, service
from slimseq.client import Client
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.store import Store


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Runs the service and streams texts.

    Raises:
        SlimseqError: there is no such variant, or the service does not start.
        BenchmarkFailed: the variant searches without beams.
    """
    task, variant = given.variant
    store = Store(given.store)
    num_beams = store.manifest(task, variant).generation.num_beams
    if num_beams == 1:
        raise BenchmarkFailed(f"{task}/{variant} has one beam; name a variant with more")
    texts = [example.source for example in load_examples(task, BUNDLED).examples[: given.texts]]
    found: dict[int, list[Record]] = {num_beams: [], 1: []}
    with running(service(store, task, variant), scratch) as server, Client(f"http://{HOST}:{server.port}") as client:
        for text in texts:
            for beams, times in found.items():
                started, first_ms = time.perf_counter(), None
                for _ in client.stream(task.value, text, variant=variant, num_beams=beams):
                    first_ms = first_ms or (time.perf_counter() - started) * MILLISECONDS
                times.append({"first_ms": first_ms, "whole_ms": (time.perf_counter() - started) * MILLISECONDS})
    medians = {
        str(beams): {name: median(each[name] for each in times if each[name]) for name in ("first_ms", "whole_ms")}
        for beams, times in found.items()
    }
    return record(artifact=f"{task}/{variant}", texts=len(texts), medians=medians)


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the medians."""
    rows = [
        [f"{beams} beams" if beams != "1" else "greedy", number(each["first_ms"], 1), number(each["whole_ms"], 1)]
        for beams, each in found["medians"].items()
    ]
    yield from table((f"{found['artifact']}, {found['texts']} texts", "first piece, ms", "whole answer, ms"), rows)
    yield from ("", measured_on(found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("first_piece", __doc__)
    add_variant(parser, "summarization/quantized")
    parser.add_argument("--texts", type=int, default=20, help="how many are streamed")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
