"""`python -m benchmarks.step_profile`: where the time of our engine's steps goes.

Inputs that begin together are searched for on one thread: how long their encoders run, how long a step is, how much of
it is the decoder's graph and how much what is around it, the search and its caches. A second pass, under ONNX Runtime's
profiler, tells the graph's time by operator; the profiler itself takes a part of each.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort

from benchmarks.command import BenchmarkFailed, Record, parser_of, record, run
from benchmarks.sections import profile_section
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.inference.engine.engine import Engine
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import GenerationOptions, Task
from slimseq.models_store.store import Store

REPEATS = 5
MICROSECONDS = 1e6


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


def opened(path: Path, profile_to: Path | None = None) -> ort.InferenceSession:
    """Opens a graph on one thread, as the service does; with a path, its profile goes there."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def searched(
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
    encoding, step, graph = encoded - started, (ended - encoded) / steps, timed.seconds / steps
    return encoding * MICROSECONDS, step * MICROSECONDS, graph * MICROSECONDS


def profile(folder: Path, rows: Sequence[Sequence[int]], options: GenerationOptions, scratch: Path) -> Record:
    """Measures inputs that begin together.

    Args:
        folder: of an artifact, with graphs of ours.
        rows: input ids, unpadded.
        options: the same for all; outputs have a pinned length.
        scratch: where the profiler writes.

    Returns:
        Microseconds, medians: of all encoders, of a step, of the decoder's graph in a step and, under the profiler, of
        the graph's operators by kind, most first; and how many nodes it has.
    """
    encoder, decoder = (opened(folder / "onnx" / name) for name in (ENCODER, DECODER))
    searched(folder, encoder, decoder, rows, options)
    runs = [searched(folder, encoder, decoder, rows, options) for _ in range(REPEATS)]
    encoder_us, step_us, decoder_us = np.median(np.array(runs), axis=0).tolist()
    profiled = opened(folder / "onnx" / DECODER, scratch / "decoder")
    searched(folder, encoder, profiled, rows, options)
    events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    steps = sum(event["name"] == "model_run" for event in events)
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    spent: Counter[str] = Counter()
    for event in nodes:
        spent[event["args"]["op_name"]] += event["dur"]
    return {
        "inputs": len(rows),
        "encoder_us": encoder_us,
        "step_us": step_us,
        "decoder_us": decoder_us,
        "operators_us": {name: microseconds / steps for name, microseconds in spent.most_common()},
        "nodes": len(nodes) / steps,
    }


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures each number of inputs.

    Raises:
        SlimseqError: there is no such variant, or it has no graphs of ours.
    """
    task, variant, store = given.task, given.variant, Store(given.store)
    generation, folder = store.manifest(task, variant).generation, store.folder(task, variant)
    if not (folder / "onnx" / DECODER).exists():
        raise BenchmarkFailed(f"{task}/{variant} has no ONNX graphs; `slimseq prepare` makes them")
    pinned = {"min_new_tokens": given.new_tokens, "max_new_tokens": given.new_tokens}
    options = generation.options(num_beams=given.beams, **pinned)
    tokenizer = Tokenizer(folder)
    texts = [generation.prefix + example.source for example in load_examples(task, BUNDLED).examples]
    ids = [tokenizer.encode(text, generation.max_input_tokens).ids for text in texts]
    profiles = [
        profile(folder, [ids[place % len(ids)] for place in range(inputs)], options, scratch) for inputs in given.inputs
    ]
    named = {"task": task, "variant": variant, "beams": options.num_beams, "new_tokens": given.new_tokens}
    return record(**named, profiles=profiles)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("step_profile", __doc__)
    parser.add_argument("task", type=Task, choices=list(Task))
    parser.add_argument("variant", nargs="?", default="quantized", help="one with graphs of ours")
    parser.add_argument("--inputs", type=int, nargs="+", default=(1, 4, 16), help="that begin together")
    parser.add_argument("--beams", type=int, help="the variant's own by default")
    parser.add_argument("--new-tokens", type=int, default=40, help="of every output")
    run(parser, arguments, measure, profile_section)


if __name__ == "__main__":
    main()
