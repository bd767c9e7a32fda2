"""`python -m benchmarks.rounding_agreement`: what each way of rounding sensitive layers keeps, and what it costs.

Greedy outputs of each int8 model beside those of the float32 one, on the same texts: the share of identical ones and
chrF against them, and the task's metric of both. Times are processor time of one thread, the models taking turns.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.agreement import copied, outputs, parser_of
from benchmarks.command_line import wide_console
from compression.context import Context
from compression.exporting import add_onnx
from compression.quantization.int8_dynamic import BLOCKS, Finely, Int8Dynamic, by_block, by_row_and_block
from compression.quantization.integer_products import How, IntegerWeights, RowInputs
from compression.quantization.options import QuantizeOptions
from compression.quantize import quantize
from evaluation.datasets import load_examples
from evaluation.examples import Example
from evaluation.metrics import PRIMARY_METRIC, score
from models_store.configuration import ModelConfiguration
from models_store.generator import open_generator
from models_store.graphs.names import DECODER, ENCODER
from models_store.manifest import Task
from models_store.store import Store

# Of the table, in characters.
WIDTH = 100
FIRST = "blocks, inputs in float"


def _blocks(
    _weights: IntegerWeights, _exported: Path, _products: Collection[str], _configuration: ModelConfiguration
) -> Mapping[str, How]:
    return {ENCODER: BLOCKS, DECODER: BLOCKS}


def _rows(
    weights: IntegerWeights, _exported: Path, _products: Collection[str], _configuration: ModelConfiguration
) -> Mapping[str, How]:
    return {ENCODER: RowInputs(weights), DECODER: BLOCKS}


# How the encoder's sensitive products are rounded; the decoder's are in blocks.
SCHEMES: Mapping[str, Finely] = {
    FIRST: by_block,
    "blocks": _blocks,
    "rows": _rows,
    "rows, large channels in float": by_row_and_block,
}
TENSORS = "one scale a tensor, no layer finer"


@dataclass(frozen=True)
class Kept:
    """What one way of rounding keeps.

    Args:
        scheme: its name.
        same: share of outputs that equal the float32 ones.
        chrf: of the outputs against the float32 ones, 0 to 100.
        metric: the task's primary metric against the written targets.
        seconds: processor time of one pass, least of all passes.
    """

    scheme: str
    same: float
    chrf: float
    metric: float
    seconds: float


def kept(store: Store, task: Task, variant: str, examples: Sequence[Example], repeats: int) -> list[Kept]:
    """Rounds a variant in every way and generates with all of them in turns, one thread each.

    Args:
        store: holds the variant, with safetensors.
        task: the variant's.
        variant: what to round.
        examples: sources and written targets.
        repeats: passes over the texts; what is slow in one pass alone does not count.

    Returns:
        The float32 model, then one for each way.
    """
    with copied(store, task, variant) as scratch, ExitStack() as stack:
        context = Context(store=scratch)
        add_onnx(context, task, variant)
        named = {"float32": variant}
        for number, (name, finely) in enumerate(SCHEMES.items()):
            named[name] = quantize(context, task, variant, f"way-{number}", scheme=Int8Dynamic(finely)).variant
        named[TENSORS] = quantize(context, task, variant, "tensors", QuantizeOptions(sensitive_layers=())).variant
        generators = {
            name: stack.enter_context(open_generator(scratch, task, made, "onnxruntime", threads=1))
            for name, made in named.items()
        }
        seconds = dict.fromkeys(generators, np.inf)
        texts: dict[str, list[str]] = {}
        for _ in range(repeats):
            for name, generator in generators.items():
                started = time.process_time()
                texts[name] = [output.text for output in outputs(generator, examples, beams=1)]
                seconds[name] = min(seconds[name], time.process_time() - started)
    return [_kept(task, name, examples, texts[name], texts["float32"], seconds[name]) for name in texts]


def _kept(
    task: Task, scheme: str, examples: Sequence[Example], texts: list[str], floats: list[str], seconds: float
) -> Kept:
    return Kept(
        scheme=scheme,
        same=float(np.mean([text == other for text, other in zip(texts, floats, strict=True)])),
        chrf=score(Task.TRANSLATION, texts, floats).metrics["chrf"].value,
        metric=score(task, texts, [example.target for example in examples]).metrics[PRIMARY_METRIC[task]].value,
        seconds=seconds,
    )


def table(task: Task, found: Sequence[Kept]) -> Table:
    """Returns a table; times are beside those of blocks with inputs in float."""
    shown = Table("sensitive layers", "same as float32", "chrF to float32", PRIMARY_METRIC[task], "times as long")
    first = next(each.seconds for each in found if each.scheme == FIRST)
    for each in found:
        shown.add_row(
            each.scheme, f"{each.same:.2f}", f"{each.chrf:.1f}", f"{each.metric:.2f}", f"{each.seconds / first:.2f}"
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("rounding_agreement", __doc__)
    parser.add_argument("--repeats", type=int, default=3, help="passes over the texts")
    options = parser.parse_args(arguments)
    data = load_examples(options.task, options.data, samples=options.samples)
    found = kept(Store(options.store), options.task, options.variant, data.examples, options.repeats)
    console = wide_console(WIDTH)
    console.print(table(options.task, found))
    console.print(f"{data.name} ({data.split}), {len(data.examples)} samples, greedy")


if __name__ == "__main__":
    main()
