"""`python -m benchmarks.quantization_agreement`: what each way to quantize sensitive layers keeps, and what it costs.

Outputs of each int8 model, greedy unless beams are asked for, beside those of the float32 one on the same texts: the
share of identical ones and chrF against them, and the task's metric of both. Times are processor time of one thread,
the models taking turns.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from onnx import NodeProto

from benchmarks.agreement import add_origin, compared, copied, of_origins, variant_parser
from benchmarks.command import BenchmarkFailed, Record, record, run
from benchmarks.sections import table_of
from benchmarks.workload import beams_in_words
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.quantize.int8.dynamic import (
    Int8Dynamic,
    MakeMatmulQuantizer,
    normalized_rows,
    row_scales,
    static_input_scales,
)
from slimseq.compression.quantize.int8.rewriting import DOMAIN, GraphRewriter
from slimseq.compression.quantize.int8.row_matmuls import RowScales
from slimseq.compression.quantize.options import Blocks, QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.weight_only import quantize_rows_in_blocks
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import PRIMARY_METRIC, score
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

FLOAT = "float32"
# Patterns of layers, for both families at once.
OUTPUTS = r"^(?:model/)?decoder/.*/(?:wo|fc2)/"
FEED_FORWARD = (r"^encoder/.*/(?:DenseReluDense/w|fc[12]/)", OUTPUTS)
ENCODER_WHOLE = (r"^encoder/", OUTPUTS)
DECODER_ATTENTION = r"^(?:model/)?decoder/.*/(?:SelfAttention|EncDecAttention|self_attn|encoder_attn)/"


@dataclass(frozen=True)
class BlockWeights:
    """Products with a scale a block of weights, as ONNX Runtime's `MatMulNBitsQuantizer` makes them.

    Args:
        blocks: of the weights.
        accuracy_level: the kernel's: 4 quantizes inputs in blocks too, 0 leaves them in float.
    """

    blocks: Blocks
    accuracy_level: int

    def add(self, graph: GraphRewriter, node: NodeProto) -> None:
        """Adds what takes the place of a product."""
        states, matrix = node.input
        weights = graph.matrix(matrix)
        bits, size = self.blocks.bits, self.blocks.size
        parts = quantize_rows_in_blocks(weights.T, self.blocks)
        names = [f"{matrix}_Q{bits}", f"{matrix}_scales", f"{matrix}_zero_points"][: len(parts)]
        for name, values in zip(names, parts, strict=True):
            graph.tensor(name, values)
        attributes = {"K": weights.shape[0], "N": weights.shape[1], "bits": bits, "block_size": size}
        if self.accuracy_level:
            attributes["accuracy_level"] = self.accuracy_level
        graph.node("MatMulNBits", [states, *names], f"{node.name}_Q{bits}", node.output[0], domain=DOMAIN, **attributes)


def in_blocks(size: int, accuracy_level: int = 4) -> MakeMatmulQuantizer:
    """Returns what quantizes weights in blocks of a size, and inputs too unless the level is 0."""
    how = BlockWeights(Blocks(bits=8, size=size, is_symmetric=True), accuracy_level)
    return lambda _weights, _reading, _products: how


BLOCKS = in_blocks(128)
ROWS: MakeMatmulQuantizer = lambda weights, _reading, _products: RowScales(weights)  # noqa: E731
TENSOR: MakeMatmulQuantizer = lambda weights, _reading, _products: weights  # noqa: E731
FIXED = Int8Dynamic(row_scales, normalized_rows, static_input_scales)
# Which layers are quantized more finely, and how: those of the encoder, those of the decoder, and all others.
WAYS: dict[str, tuple[tuple[str, ...], Int8Dynamic]] = {
    "feed-forward: blocks, inputs in float": (FEED_FORWARD, Int8Dynamic(in_blocks(128, 0), BLOCKS, TENSOR)),
    "feed-forward: blocks": (FEED_FORWARD, Int8Dynamic(BLOCKS, BLOCKS, TENSOR)),
    "feed-forward: rows": (FEED_FORWARD, Int8Dynamic(ROWS, BLOCKS, TENSOR)),
    **{
        f"{layers}: {name}": (patterns, scheme)
        for layers, patterns in (("feed-forward", FEED_FORWARD), ("encoder", ENCODER_WHOLE))
        for name, scheme in {
            "rows, outlier channels in float": Int8Dynamic(row_scales, BLOCKS, TENSOR),
            "the same, decoder: blocks of 32": Int8Dynamic(row_scales, in_blocks(32), TENSOR),
            "the same, decoder: rows, outlier channels in float": Int8Dynamic(row_scales, normalized_rows, TENSOR),
            "the same, decoder: one scale a tensor": Int8Dynamic(row_scales, TENSOR, TENSOR),
            "the same, decoder: rows, outlier channels in float; others: static scales": FIXED,
        }.items()
    },
    "encoder: rows": (ENCODER_WHOLE, Int8Dynamic(ROWS, BLOCKS, TENSOR)),
    "encoder: the same, decoder's attention in blocks": (
        (*ENCODER_WHOLE, DECODER_ATTENTION),
        Int8Dynamic(row_scales, BLOCKS, TENSOR),
    ),
    "one scale a tensor": ((), Int8Dynamic(row_scales, BLOCKS, TENSOR)),
}


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Quantizes a variant in every way and generates with all of them in turns, one thread each.

    Raises:
        SlimseqError: there is no such variant or data.
    """
    task, variant = given.task, given.variant
    # A collection's first ones may be anywhere in the file.
    data = load_examples(task, given.data, samples=given.samples if given.origin is None else None)
    examples = of_origins(data.examples, given.origin)[: given.samples]
    origins = ", ".join(given.origin or ())
    if not examples:
        raise BenchmarkFailed(f"{data.name} has no examples of {origins}")
    store = copied(Store(given.store), task, variant, scratch)
    add_onnx(Context(store), task, variant)
    named = {FLOAT: variant}
    for place, name in enumerate(given.ways):
        layers, scheme = WAYS[name]
        sensitive = QuantizeOptions(sensitive_layers=layers)
        named[name] = quantize(Context(store), task, variant, f"way-{place}", sensitive, scheme=scheme).variant
    with ExitStack() as stack:
        generators = {
            name: stack.enter_context(open_generator(store, task, made, "onnxruntime", threads=1))
            for name, made in named.items()
        }
        # What is slow in one pass alone does not count.
        seconds = dict.fromkeys(generators, float("inf"))
        texts: dict[str, list[str]] = {}
        for _ in range(given.repeats):
            for name, generator in generators.items():
                started = time.process_time()
                options = generator.manifest.generation.options(num_beams=given.beams)
                texts[name] = [output.text for output in generate_with(generator, options)(examples)]
                seconds[name] = min(seconds[name], time.process_time() - started)
    metric, rows = PRIMARY_METRIC[task], []
    for row in compared(task, texts, examples, [PRIMARY_METRIC[task]]):
        chrf = score(Task.TRANSLATION, texts[row["name"]], texts[FLOAT]).metrics["chrf"].value
        rows.append({**row, "chrf": chrf, "seconds": seconds[row["name"]]})
    read = {"data": f"{data.name}, {origins}" if origins else data.name, "split": data.split, "samples": len(examples)}
    return record(**read, beams=given.beams, metric=metric, rows=rows)


def lines(found: Record) -> Iterator[str]:
    """Yields a table, whose times are beside those of the first way, and what was read."""
    first = next(row["seconds"] for row in found["rows"] if row["name"] != FLOAT)
    rows = [{**row, "times": row["seconds"] / first} for row in found["rows"]]
    columns = {
        "sensitive layers": "{name}",
        "same as float32": "{same:.2f}",
        "chrF to float32": "{chrf:.1f}",
        found["metric"]: f"{{{found['metric']}:.2f}}",
        "times as long": "{times:.2f}",
    }
    yield from table_of(rows, columns)
    yield ""
    yield f"{found['data']} ({found['split']}), {found['samples']} samples, {beams_in_words(found['beams'])}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = variant_parser("quantization_agreement", __doc__)
    parser.add_argument("--repeats", type=int, default=3, help="passes over the texts")
    parser.add_argument("--beams", type=int, default=1, help="1 is greedy search")
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help="all by default"
    )
    add_origin(parser)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
