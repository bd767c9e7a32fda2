"""`python -m benchmarks.quantization_agreement`: what each way of rounding sensitive layers keeps, and what it costs.

Outputs of each int8 model, greedy unless beams are asked for, beside those of the float32 one on the same texts: the
share of identical ones and chrF against them, and the task's metric of both. Times are processor time of one thread,
the models taking turns.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.agreement import add_origin, copied, of_origins, outputs, parser_of
from benchmarks.block_products import BlockWeights
from benchmarks.command_line import wide_console
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.quantize import int8_dynamic
from slimseq.compression.quantize.int8_dynamic import Int8Dynamic, normalized_rows, row_scales, static_input_scales
from slimseq.compression.quantize.integer_matmuls import Int8Weights
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.rewriting import MatmulQuantizer
from slimseq.compression.quantize.row_matmuls import RowScales
from slimseq.compression.quantize.weight_only import Blocks
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.examples import Example
from slimseq.evaluation.metrics import PRIMARY_METRIC, score
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# Of the table, in characters.
WIDTH = 120
FLOAT = "float32"


def _rows(weights: Int8Weights, *_: object) -> MatmulQuantizer:
    return RowScales(weights)


def _tensor(weights: Int8Weights, *_: object) -> MatmulQuantizer:
    return weights


# Level 4 of MatMulNBits rounds inputs in blocks too.
ACCURACY_LEVEL = 4
USUAL_BLOCK = 128


def in_blocks(size: int, accuracy_level: int = ACCURACY_LEVEL) -> int8_dynamic.MakeMatmulQuantizer:
    """Returns what rounds weights in blocks of a size, and inputs too unless the level is 0."""
    how = BlockWeights(Blocks(bits=8, size=size, is_symmetric=True), accuracy_level)
    return lambda _weights, _reading, _products: how


USUAL_BLOCKS = in_blocks(USUAL_BLOCK)
# Patterns of layers, for both families at once.
OUTPUTS = r"^(?:model/)?decoder/.*/(?:wo|fc2)/"
FEED_FORWARD = (r"^encoder/.*/(?:DenseReluDense/w|fc[12]/)", OUTPUTS)
ENCODER_WHOLE = (r"^encoder/", OUTPUTS)
DECODER_ATTENTION = r"^(?:model/)?decoder/.*/(?:SelfAttention|EncDecAttention|self_attn|encoder_attn)/"


@dataclass(frozen=True)
class Way:
    """Which layers are rounded more finely, and how; the decoder's in blocks of 128, and others by a scale a tensor."""

    layers: tuple[str, ...]
    encoder: int8_dynamic.MakeMatmulQuantizer = row_scales
    decoder: int8_dynamic.MakeMatmulQuantizer = USUAL_BLOCKS
    others: int8_dynamic.MakeMatmulQuantizer = _tensor


WAYS: Mapping[str, Way] = {
    "feed-forward: blocks, inputs in float": Way(FEED_FORWARD, in_blocks(USUAL_BLOCK, accuracy_level=0)),
    "feed-forward: blocks": Way(FEED_FORWARD, USUAL_BLOCKS),
    "feed-forward: rows": Way(FEED_FORWARD, _rows),
    "feed-forward: rows, large channels in float": Way(FEED_FORWARD),
    "feed-forward: the same, decoder: blocks of 32": Way(FEED_FORWARD, decoder=in_blocks(32)),
    "feed-forward: the same, decoder: rows, large channels in float": Way(FEED_FORWARD, decoder=normalized_rows),
    "feed-forward: the same, decoder: one scale a tensor": Way(FEED_FORWARD, decoder=_tensor),
    "feed-forward: rows, large channels in float; others: fixed scales": Way(
        FEED_FORWARD, decoder=normalized_rows, others=static_input_scales
    ),
    "encoder: rows": Way(ENCODER_WHOLE, _rows),
    "encoder: rows, large channels in float": Way(ENCODER_WHOLE),
    "encoder: the same, decoder: blocks of 32": Way(ENCODER_WHOLE, decoder=in_blocks(32)),
    "encoder: the same, decoder: rows, large channels in float": Way(ENCODER_WHOLE, decoder=normalized_rows),
    "encoder: the same, decoder: one scale a tensor": Way(ENCODER_WHOLE, decoder=_tensor),
    "encoder: the same, decoder: rows, large channels in float; others: fixed scales": Way(
        ENCODER_WHOLE, decoder=normalized_rows, others=static_input_scales
    ),
    "encoder: the same, decoder's attention in blocks": Way((*ENCODER_WHOLE, DECODER_ATTENTION)),
    "one scale a tensor": Way(()),
}


@dataclass(frozen=True)
class Kept:
    """What one way of rounding keeps.

    Args:
        way: its name.
        same: share of outputs that equal the float32 ones.
        chrf: of the outputs against the float32 ones, 0 to 100.
        metric: the task's primary metric against the written targets.
        seconds: processor time of one pass, least of all passes.
    """

    way: str
    same: float
    chrf: float
    metric: float
    seconds: float


def kept(
    store: Store,
    task: Task,
    variant: str,
    examples: Sequence[Example],
    repeats: int,
    beams: int = 1,
    ways: Mapping[str, Way] = WAYS,
) -> list[Kept]:
    """Rounds a variant in every way and generates with all of them in turns, one thread each.

    Args:
        store: holds the variant, with safetensors.
        task: the variant's.
        variant: what to round.
        examples: sources and written targets.
        repeats: passes over the texts; what is slow in one pass alone does not count.
        beams: of the searches.
        ways: in which to round.

    Returns:
        The float32 model, then one for each way.
    """
    with copied(store, task, variant) as scratch, ExitStack() as stack:
        context = Context(store=scratch)
        add_onnx(context, task, variant)
        named = {FLOAT: variant}
        for number, (name, way) in enumerate(ways.items()):
            options, scheme = (
                QuantizeOptions(sensitive_layers=way.layers),
                Int8Dynamic(way.encoder, way.decoder, way.others),
            )
            named[name] = quantize(context, task, variant, f"way-{number}", options, scheme=scheme).variant
        generators = {
            name: stack.enter_context(open_generator(scratch, task, made, "onnxruntime", threads=1))
            for name, made in named.items()
        }
        seconds = dict.fromkeys(generators, np.inf)
        texts: dict[str, list[str]] = {}
        for _ in range(repeats):
            for name, generator in generators.items():
                started = time.process_time()
                texts[name] = [output.text for output in outputs(generator, examples, beams=beams)]
                seconds[name] = min(seconds[name], time.process_time() - started)
    return [_kept(task, name, examples, texts[name], texts[FLOAT], seconds[name]) for name in texts]


def _kept(
    task: Task, way: str, examples: Sequence[Example], texts: list[str], floats: list[str], seconds: float
) -> Kept:
    return Kept(
        way=way,
        same=float(np.mean([text == other for text, other in zip(texts, floats, strict=True)])),
        chrf=score(Task.TRANSLATION, texts, floats).metrics["chrf"].value,
        metric=score(task, texts, [example.target for example in examples]).metrics[PRIMARY_METRIC[task]].value,
        seconds=seconds,
    )


def table(task: Task, found: Sequence[Kept]) -> Table:
    """Returns a table; times are beside those of the first way."""
    shown = Table("sensitive layers", "same as float32", "chrF to float32", PRIMARY_METRIC[task], "times as long")
    first = next(each.seconds for each in found if each.way != FLOAT)
    for each in found:
        shown.add_row(
            each.way, f"{each.same:.2f}", f"{each.chrf:.1f}", f"{each.metric:.2f}", f"{each.seconds / first:.2f}"
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("rounding_agreement", __doc__)
    parser.add_argument("--repeats", type=int, default=3, help="passes over the texts")
    parser.add_argument("--beams", type=int, default=1, help="1 is greedy search")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), metavar="WAY", help="some of them alone")
    add_origin(parser)
    options = parser.parse_args(arguments)
    # A collection's first ones may be anywhere in the file.
    read = options.samples if options.origin is None else None
    data = load_examples(options.task, options.data, samples=read)
    examples = of_origins(data.examples, options.origin)[: options.samples]
    origins = ", ".join(options.origin or ())
    if not examples:
        parser.error(f"{data.name} has no examples of {origins}")
    ways = {name: way for name, way in WAYS.items() if options.ways is None or name in options.ways}
    found = kept(Store(options.store), options.task, options.variant, examples, options.repeats, options.beams, ways)
    console = wide_console(WIDTH)
    console.print(table(options.task, found))
    named = f"{data.name}, {origins}" if origins else data.name
    search = "greedy" if options.beams == 1 else f"{options.beams} beams"
    console.print(f"{named} ({data.split}), {len(examples)} samples, {search}")


if __name__ == "__main__":
    main()
