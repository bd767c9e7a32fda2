"""`python -m benchmarks.step_profile`: where the time of our engine's steps goes.

Inputs that begin together are searched for on one thread: how long their encoders run, how long a step is, how much of
it is the decoder's graph and how much what is around it, the search and its caches. A second pass, under ONNX Runtime's
profiler, tells the graph's time by operator; the profiler itself takes a part of each.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from rich.table import Table

from benchmarks.command_line import wide_console, write_json
from benchmarks.taken import Taken
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.engine.engine import Engine
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import GenerationOptions, Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

INPUTS = (1, 4, 16)
NEW_TOKENS = 40
REPEATS = 5
MICROSECONDS = 1e6
# Operators that a table shows; the others are added up.
SHOWN = 16
WIDTH = 110


@dataclass(frozen=True)
class Profile:
    """What so many inputs take.

    Args:
        inputs: how many begin together.
        encoder_us: of all their encoders, medians as all times.
        step_us: of a step.
        decoder_us: of the decoder's graph in a step.
        operators_us: of its operators by kind, under the profiler, most first.
        nodes: how many there are.
    """

    inputs: int
    encoder_us: float
    step_us: float
    decoder_us: float
    operators_us: dict[str, float]
    nodes: float


@dataclass
class Profiles(Taken):
    """What came of it."""

    task: str
    variant: str
    beams: int
    new_tokens: int
    profiles: list[Profile] = field(default_factory=list)

    def as_json(self) -> str:
        """Returns all of it."""
        return json.dumps(asdict(self), indent=2) + "\n"


class Timed:
    """A session that adds up how long it runs."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any) -> None:
        """Runs what is bound."""
        started = time.perf_counter()
        self._session.run_with_iobinding(binding)
        self.seconds += time.perf_counter() - started


def profile(folder: Path, rows: Sequence[Sequence[int]], options: GenerationOptions) -> Profile:
    """Measures inputs that begin together.

    Args:
        folder: of an artifact, with graphs of ours.
        rows: input ids, unpadded.
        options: the same for all; outputs have a pinned length.
    """
    encoder, decoder = (opened(folder / "onnx" / name) for name in (ENCODER, DECODER))
    _searched(folder, encoder, decoder, rows, options)
    runs = [_searched(folder, encoder, decoder, rows, options) for _ in range(REPEATS)]
    encoder_us, step_us, decoder_us = (float(value) for value in np.median(np.array(runs), axis=0))
    operators, nodes = _operators(folder, encoder, rows, options)
    return Profile(len(rows), encoder_us, step_us, decoder_us, operators, nodes)


def opened(path: Path, profile_to: Path | None = None) -> ort.InferenceSession:
    """Opens a graph on one thread, as the service does; with a path, its profile goes there."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _searched(
    folder: Path,
    encoder: ort.InferenceSession,
    decoder: ort.InferenceSession,
    rows: Sequence[Sequence[int]],
    options: GenerationOptions,
) -> tuple[float, float, float]:
    """Generates once; returns the microseconds of encoders, of a step, and of the decoder's graph in a step."""
    timed = Timed(decoder)
    engine = Engine(encoder, cast(ort.InferenceSession, timed), read_configuration(folder))
    for row in rows:
        engine.add(row, options)
    started = time.perf_counter()
    engine.admit(sum(map(len, rows)))
    encoded = time.perf_counter()
    steps = 0
    while len(engine):
        engine.step()
        steps += 1
    ended = time.perf_counter()
    seconds = encoded - started, (ended - encoded) / steps, timed.seconds / steps
    return seconds[0] * MICROSECONDS, seconds[1] * MICROSECONDS, seconds[2] * MICROSECONDS


def _operators(
    folder: Path, encoder: ort.InferenceSession, rows: Sequence[Sequence[int]], options: GenerationOptions
) -> tuple[dict[str, float], float]:
    """Generates under the profiler; returns microseconds of a step by operator, most first, and its nodes."""
    with tempfile.TemporaryDirectory(prefix="slimseq-profile-") as scratch:
        decoder = opened(folder / "onnx" / DECODER, Path(scratch) / "decoder")
        _searched(folder, encoder, decoder, rows, options)
        events = json.loads(Path(decoder.end_profiling()).read_text(encoding="utf-8"))
    steps = sum(event["name"] == "model_run" for event in events)
    spent: Counter[str] = Counter()
    nodes = 0
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
            nodes += 1
    return {name: microseconds / steps for name, microseconds in spent.most_common()}, nodes / steps


def table(found: Profiles) -> Table:
    """Returns a table: a column for each number of inputs."""
    shown = Table("microseconds", *(f"{each.inputs} x {found.beams}" for each in found.profiles))
    for name, values in lines_of(found.profiles):
        shown.add_row(name, *values)
    return shown


def lines_of(profiles: Sequence[Profile]) -> list[tuple[str, list[str]]]:
    """Returns the lines of a table: a name, and a figure for each number of inputs."""
    shares = Counter[str]()
    for each in profiles:
        whole = sum(each.operators_us.values())
        shares.update({name: spent / whole for name, spent in each.operators_us.items()})
    names = [name for name, _ in shares.most_common(SHOWN)]
    operators = [(name, [each.operators_us.get(name, 0.0) for each in profiles]) for name in names]
    rest = [sum(spent for name, spent in each.operators_us.items() if name not in names) for each in profiles]
    figures = [
        ("all encoders, once", [each.encoder_us for each in profiles]),
        ("a step", [each.step_us for each in profiles]),
        ("its search and caches", [each.step_us - each.decoder_us for each in profiles]),
        ("its graph", [each.decoder_us for each in profiles]),
        ("nodes of the graph", [each.nodes for each in profiles]),
        *operators,
        ("other operators", rest),
    ]
    return [(name, [f"{value:,.0f}" for value in values]) for name, values in figures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_profile", description=__doc__)
    parser.add_argument("task", type=Task, choices=list(Task))
    parser.add_argument("variant", nargs="?", default="quantized", help="one with graphs of ours")
    parser.add_argument("--inputs", type=int, nargs="+", default=INPUTS, help="that begin together")
    parser.add_argument("--beams", type=int, help="the variant's own by default")
    parser.add_argument("--new-tokens", type=int, default=NEW_TOKENS, help="of every output")
    parser.add_argument("--store", type=Path, default=embedded_store())
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    store = Store(given.store)
    manifest = store.manifest(given.task, given.variant)
    folder = store.folder(given.task, given.variant)
    if not (folder / "onnx" / DECODER).exists():
        parser.error(f"{given.task}/{given.variant} has no ONNX graphs; `slimseq prepare` makes them")
    options = manifest.generation.options(
        num_beams=given.beams, min_new_tokens=given.new_tokens, max_new_tokens=given.new_tokens
    )
    tokenizer = Tokenizer(folder)
    texts = [manifest.generation.prefix + example.source for example in load_examples(given.task, BUNDLED).examples]
    ids = [tokenizer.encode(text, manifest.generation.max_input_tokens).ids for text in texts]
    found = Profiles(given.task, given.variant, options.num_beams, given.new_tokens)
    for inputs in given.inputs:
        found.profiles.append(profile(folder, [ids[number % len(ids)] for number in range(inputs)], options))
    wide_console(WIDTH).print(table(found))
    write_json(found, given.json)


if __name__ == "__main__":
    main()
