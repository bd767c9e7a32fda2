"""`python -m benchmarks.hub_shapes`: what compressing a model of a hub's exact shape takes, in seconds and memory.

Models of `google-t5/t5-small`'s and `facebook/bart-base`'s configuration are made with random weights. Each is
quantized to int8 and pruned in one shot (half of the feed-forward channels, a quarter of the heads, no recovery), each
time in a process of its own, whose peak of resident memory is read at its end: absolute, and above what importing the
libraries alone takes.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.child import Child, peak_bytes
from benchmarks.command import Record, parser_of, record, run
from benchmarks.random_models import HUB_SHAPES, SENTENCES, SHAPES, publish_random
from benchmarks.sections import shapes_section
from slimseq.compression.context import Context
from slimseq.compression.technique import Job
from slimseq.evaluation.host import available_cores, resident_bytes
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

LIMIT_SECONDS = {"quantize": 60.0, "prune": 120.0}
# The peak above what imports take, by the fp32 model's bytes.
LIMIT_MEMORY = 3.0
CALIBRATION_PAIRS = 128
FP32_BYTES = 4


def make(shape: str, folder: Path) -> None:
    """Publishes a random model of a shape, and writes data to calibrate on, into a folder."""
    publish_random(shape, folder)
    rows = [json.dumps({"source": text, "target": text}) for text in SENTENCES * CALIBRATION_PAIRS][:CALIBRATION_PAIRS]
    write_text(folder / "pairs.jsonl", "".join(f"{row}\n" for row in rows))


def measure(shape: str, operation: str, folder: Path) -> Record:
    """Runs one operation in this process, which must not have done anything before, on what `make` has made."""
    import onnx
    import onnxruntime.quantization.matmul_nbits_quantizer

    from slimseq.compression.quantize.quantize import quantize

    del onnx, onnxruntime
    context = Context(Store(folder / "store"), may_replace=True)
    if operation == "prune":
        from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

        from slimseq.compression.prune.prune import PruneOptions, prune
        from slimseq.compression.training.data.pairs import DataFiles
        from slimseq.compression.training.schedule import Bounds
        from slimseq.compression.training.trainer import TrainingOptions

        del BartForConditionalGeneration, T5ForConditionalGeneration
    imported, started = resident_bytes(), time.perf_counter()
    if operation == "quantize":
        quantize(context, Task.TRANSLATION, "original")
    else:
        heads = SHAPES[shape][3] * 3 // 4
        options = PruneOptions(feed_forward=0.5, heads=heads, samples=CALIBRATION_PAIRS)
        files = DataFiles(train=[str(folder / "pairs.jsonl")])
        prune(
            Job(context, Task.TRANSLATION, "original", "pruned", files), options, TrainingOptions(Bounds(max_steps=0))
        )
    seconds, peak = time.perf_counter() - started, peak_bytes()
    fp32_bytes = context.store.manifest(Task.TRANSLATION, "original").size.parameters * FP32_BYTES
    ratio = (peak - imported) / fp32_bytes
    return {
        "model": shape,
        "operation": operation,
        "seconds": round(seconds, 2),
        "fp32_bytes": fp32_bytes,
        "imported_bytes": imported,
        "peak_bytes": peak,
        "memory_ratio": ratio,
        "is_within_limits": seconds <= LIMIT_SECONDS[operation] and ratio <= LIMIT_MEMORY,
    }


def benchmark(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures all operations on all models, each in a process of its own.

    Raises:
        BenchmarkFailed: one of them fails.
    """
    rows = []
    for place, shape in enumerate(given.model or HUB_SHAPES):
        folder = scratch / str(place)
        folder.mkdir()
        with Child(folder / "log") as child:
            child.call(make, shape, folder)
        for operation in LIMIT_SECONDS:
            with Child(folder / "log", available_cores()) as child:
                rows.append(child.call(measure, shape, operation, folder))
    return record(rows=rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("hub_shapes", __doc__)
    parser.add_argument("--model", action="append", choices=list(SHAPES), help="repeatable; those of hubs by default")
    run(parser, arguments, benchmark, shapes_section)


if __name__ == "__main__":
    main()
