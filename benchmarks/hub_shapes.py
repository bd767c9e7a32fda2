"""`python -m benchmarks.hub_shapes`: what compressing a model of a hub's exact shape takes, in seconds and memory.

Models of `google-t5/t5-small`'s and `facebook/bart-base`'s configuration are made with random weights. Each is
quantized to int8 and pruned in one shot (half of the feed-forward channels, a quarter of the heads, no recovery), each
time in a process of its own, whose peak of resident memory is read at its end: absolute, and above what importing the
libraries alone takes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from benchmarks.command_line import wide_console
from benchmarks.taken import Taken
from slimseq.compression.context import Context
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Family, GenerationDefaults, Step, Task
from slimseq.models_store.store import Store

LIMIT_SECONDS = {"quantize": 60.0, "prune": 120.0}
LIMIT_MEMORY = 3.0
SHAPES: dict[str, tuple[Family, dict[str, Any]]] = {
    "google-t5/t5-small": (
        Family.T5,
        {
            "d_model": 512,
            "d_kv": 64,
            "d_ff": 2048,
            "num_layers": 6,
            "num_heads": 8,
            "vocab_size": 32128,
            "decoder_start_token_id": 0,
        },
    ),
    "facebook/bart-base": (
        Family.BART,
        {
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
            "vocab_size": 50265,
            "max_position_embeddings": 1024,
        },
    ),
}
HEADS_TO_KEEP = {Family.T5: 6, Family.BART: 9}
CALIBRATION_PAIRS = 128
# Few, for the sentences are few: what a step costs is set by the model's rows. Bytes alone take 256 of them.
TOKENS = 280
SENTENCES = ("The cat sleeps on the warm stone.", "We walked along the river.", "It rained all night.")
BYTES_OF_KILOBYTE = 1024
FP32_BYTES = 4
# Of the table, in characters.
WIDTH = 120


@dataclass(frozen=True)
class Measured:
    """One operation on one model. Memory is resident bytes: after imports, and at the peak."""

    model: str
    operation: str
    seconds: float
    fp32_bytes: int
    imported_bytes: int
    peak_bytes: int

    @property
    def memory_ratio(self) -> float:
        """The peak above what imports take, by the fp32 model's bytes."""
        return (self.peak_bytes - self.imported_bytes) / self.fp32_bytes

    @property
    def is_within_limits(self) -> bool:
        """Whether it is as fast and as lean as is asked for."""
        return self.seconds <= LIMIT_SECONDS[self.operation] and self.memory_ratio <= LIMIT_MEMORY


def make_artifact(model: str, folder: Path) -> None:
    """Publishes a random model of a hub's shape as `translation/original`, and writes data to calibrate on."""
    publish_random(*SHAPES[model], folder)
    rows = [json.dumps({"source": text, "target": text}) for text in SENTENCES * CALIBRATION_PAIRS][:CALIBRATION_PAIRS]
    write_text(folder / "pairs.jsonl", "".join(f"{row}\n" for row in rows))


def publish_random(
    family: Family, shape: dict[str, Any], folder: Path, generation: GenerationDefaults | None = None
) -> None:
    """Publishes a model with random weights as `translation/original` of the store in a folder.

    Args:
        family: T5 or BART.
        shape: of its transformers configuration.
        folder: gets the store, and the tokenizer that the model was published with.
        generation: its defaults; short texts if absent.
    """
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

    from slimseq.compression.publish import Identity, publish_model
    from slimseq.compression.training.tokenizer_maker import make_tokenizer

    torch.manual_seed(0)
    if family is Family.T5:
        made: Any = T5ForConditionalGeneration(T5Config(**shape))
    else:
        made = BartForConditionalGeneration(BartConfig(**shape))
    make_tokenizer(family, SENTENCES * 20, TOKENS, folder / "tokenizer", max_tokens=512, sentinels=4)
    identity = Identity(
        task=Task.TRANSLATION,
        variant="original",
        family=family,
        languages=["en", "de"],
        license="Apache-2.0",
        training_data="none",
        description="Random weights.",
        generation=generation or GenerationDefaults(max_input_tokens=64, max_new_tokens=32),
        lineage=[Step(technique="import")],
    )
    publish_model(Store(folder / "store"), made, folder / "tokenizer", identity)


def measure(model: str, operation: str, folder: Path) -> Measured:
    """Runs one operation in this process, which must not have done anything before."""
    family, _ = SHAPES[model]
    context = Context(Store(folder / "store"), may_replace=True)
    _import_libraries(operation)
    imported = psutil.Process().memory_info().rss
    started = time.perf_counter()
    if operation == "quantize":
        from slimseq.compression.quantize.quantize import quantize

        quantize(context, Task.TRANSLATION, "original")
    else:
        from slimseq.compression.prune.prune import PruneOptions, prune
        from slimseq.compression.training.data import DataFiles
        from slimseq.compression.training.schedule import Bounds
        from slimseq.compression.training.trainer import TrainingOptions

        options = PruneOptions(feed_forward=0.5, heads=HEADS_TO_KEEP[family], samples=CALIBRATION_PAIRS)
        files = DataFiles(train=[str(folder / "pairs.jsonl")])
        prune(context, Task.TRANSLATION, "original", "pruned", files, options, TrainingOptions(Bounds(max_steps=0)))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(
        model=model,
        operation=operation,
        seconds=round(seconds, 2),
        fp32_bytes=context.store.manifest(Task.TRANSLATION, "original").size.parameters * FP32_BYTES,
        imported_bytes=imported,
        # Linux counts kilobytes, macOS bytes.
        peak_bytes=peak if sys.platform == "darwin" else peak * BYTES_OF_KILOBYTE,
    )


def _import_libraries(operation: str) -> None:
    import onnx
    import onnxruntime
    import onnxruntime.quantization.matmul_nbits_quantizer

    import slimseq.compression.quantize.quantize

    del onnx, onnxruntime, slimseq
    if operation == "prune":
        import torch
        import transformers

        import slimseq.compression.prune.prune

        # Lazy modules: what the operation takes of them is imported by name.
        del torch
        transformers.T5ForConditionalGeneration  # noqa: B018
        transformers.BartForConditionalGeneration  # noqa: B018
        del transformers, slimseq


def in_child(model: str, operation: str, folder: Path) -> str:
    """Runs one operation in a process of its own, and returns the last line that it prints.

    Raises:
        subprocess.CalledProcessError: it failed; why is on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.hub_shapes", "--model", model, "--folder", str(folder)]
    done = subprocess.run([*command, "--child", operation], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hub_shapes", description=__doc__)
    parser.add_argument("--model", action="append", choices=list(SHAPES), help="repeatable; all by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=["make", *LIMIT_SECONDS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    models = given.model or list(SHAPES)
    if given.child == "make":
        make_artifact(models[0], given.folder)
        return
    if given.child:
        sys.stdout.write(json.dumps(asdict(measure(models[0], given.child, given.folder))) + "\n")
        return
    found = []
    for model in models:
        with tempfile.TemporaryDirectory() as scratch:
            in_child(model, "make", Path(scratch))
            answers = [in_child(model, operation, Path(scratch)) for operation in LIMIT_SECONDS]
            found += [Measured(**json.loads(answer)) for answer in answers]
    _print(found, as_json=given.json)


def _print(found: list[Measured], *, as_json: bool) -> None:
    if as_json:
        extra = ("memory_ratio", "is_within_limits")
        rows = [asdict(each) | {name: getattr(each, name) for name in extra} for each in found]
        sys.stdout.write(json.dumps({**asdict(Taken()), "rows": rows}, indent=2) + "\n")
        return
    table = Table(
        "model", "operation", "seconds", "limit", "fp32 MB", "imports MB", "peak MB", "above imports", "within"
    )
    for each in found:
        table.add_row(
            each.model,
            each.operation,
            f"{each.seconds:.1f}",
            f"{LIMIT_SECONDS[each.operation]:.0f}",
            *(f"{count / 1e6:.0f}" for count in (each.fp32_bytes, each.imported_bytes, each.peak_bytes)),
            f"{each.memory_ratio:.2f} of {LIMIT_MEMORY:g} times fp32",
            "yes" if each.is_within_limits else "no",
        )
    wide_console(WIDTH).print(table)


if __name__ == "__main__":
    main()
