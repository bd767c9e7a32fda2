"""`python -m benchmarks.structures`: what the part of `slimseq compress` without training takes, in seconds and memory.

Models with the sizes of published ones (`benchmarks.shapes`) have random weights. Of each the command measures, as
`slimseq compress --within 20m` does, what the parts are worth (losses), what they cost (costs), and how far a cut to
half of the heads and channels is from the original after its fit (cut). Each is measured in a process of its own. Its
peak of resident memory is given as such, and above what imports take, as a multiple of the fp32 model. `--tokens` makes
the inputs shorter than a shape allows: the seconds of the losses grow with them.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.command import Record, make_parser, measured_on, record, run, say, table
from benchmarks.shapes import SHAPES, VARIANT, make_shape
from benchmarks.systems.child import Child, peak_bytes
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.evaluation.host import available_cores, resident_bytes
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

if TYPE_CHECKING:
    from slimseq.compression.artifacts.parent import Parent
    from slimseq.compression.context import Context
    from slimseq.compression.prune.layer_plan import PlannedLayer
    from slimseq.compression.train.data.training_data import TrainingSet

DEFAULT_SHAPES = ("t5-small", "bart-base", "distilbart-cnn-12-6")
OPERATIONS = ("losses", "costs", "cut")
# Where a run has more time, more levels of each part are measured, and the costs of more sizes.
DEFAULT_MINUTES = 20.0
# So many characters are more tokens than one.
CHARACTERS_OF_TOKEN = 8
VOCABULARY_TEXTS = 100
DEFAULT_PAIRS = 32
FP32_BYTES = 4


def examples_of(shape: str, count: int) -> list[Example]:
    """Returns pairs of the bundled texts whose inputs are as long as a shape allows, or longer."""
    bundled = load_examples(SHAPES[shape].task, BUNDLED).examples
    texts = cycle(bundled)
    characters = SHAPES[shape].input_tokens * CHARACTERS_OF_TOKEN
    joined = characters // min(len(each.source) for each in bundled) + 1
    return [
        Example(source=" ".join(each.source for each in islice(texts, joined))[:characters], target=each.target)
        for each in islice(cycle(bundled), count)
    ]


def measure_operation(shape: str, operation: str, folder: Path, pairs: int, tokens: int, within: float) -> Record:
    """Runs one operation of a run in this process, which must not have done anything before.

    Args:
        shape: name of the shape, whose model is in the store.
        operation: one of `OPERATIONS`.
        folder: the store.
        pairs: number of calibration pairs.
        tokens: number of tokens of each input.
        within: seconds of the whole run. An operation has a share of them.
    """
    from slimseq.compression.artifacts.parent import open_parent
    from slimseq.compression.compress.shape_finder import PROBE_PAIRS
    from slimseq.compression.context import Context
    from slimseq.compression.models import load_model
    from slimseq.compression.train.data.training_data import TrainingSet

    # What loads a model is imported when it is first called: here, with a small model.
    load_model(Store(embedded_store()).folder(SHAPES[shape].task, VARIANT), "cpu")
    context = Context(Store(folder))
    imported, started = resident_bytes(), time.perf_counter()
    opened = open_parent(context, SHAPES[shape].task, VARIANT, "shape")
    parent = replace(opened, limits=replace(opened.limits, max_input_tokens=tokens))
    examples = examples_of(shape, pairs + PROBE_PAIRS)
    calibration, probes = (
        TrainingSet(part, parent.tokenizer, "", parent.limits) for part in (examples[:pairs], examples[pairs:])
    )
    if operation == "losses":
        _measure_losses(parent, calibration, probes, context, within)
    elif operation == "costs":
        _measure_costs(shape, parent, examples, context, within)
    else:
        _measure_cut(parent, calibration, probes, context)
    seconds, peak = time.perf_counter() - started, peak_bytes()
    fp32 = parent.manifest.size.parameters * FP32_BYTES
    memory = {"fp32_bytes": fp32, "imported_bytes": imported, "peak_bytes": peak}
    return {
        "shape": shape,
        "operation": operation,
        "tokens": tokens,
        "seconds": seconds,
        **memory,
        "times_fp32": (peak - imported) / fp32,
    }


def _measure_losses(
    parent: "Parent", calibration: "TrainingSet", probes: "TrainingSet", context: "Context", within: float
) -> None:
    from slimseq.compression.compress.structures.losses import measure_losses
    from slimseq.compression.compress.time_plan import LOSSES_SHARE

    measure_losses(parent.model, calibration, probes, context, LOSSES_SHARE * within, _moments(context))


def _measure_costs(
    shape: str, parent: "Parent", examples: Sequence[Example], context: "Context", within: float
) -> None:
    from slimseq.compression.compress.structures.cost_measurement import measure_costs
    from slimseq.compression.compress.structures.timed_model import Workload
    from slimseq.compression.compress.time_plan import COSTS_SHARE

    texts = [each.source for each in examples]
    workload = Workload.of(parent, texts, SHAPES[shape].new_tokens, parent.manifest.generation.options())
    measure_costs(context, parent, workload, COSTS_SHARE * within, texts[:VOCABULARY_TEXTS])


def _measure_cut(parent: "Parent", calibration: "TrainingSet", probes: "TrainingSet", context: "Context") -> None:
    from slimseq.compression.compress.structures.losses import divergence
    from slimseq.compression.prune.choose_parts import choose_parts
    from slimseq.compression.prune.cut_to_plan import cut_to_plan
    from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan

    stacks = whole_plan(parent.model).stacks
    plan = LayerPlan(**{stack: tuple(map(_half, layers)) for stack, layers in stacks.items()})
    # The moments are there: `losses` has left them, as in a run.
    kept, fitted = choose_parts(parent.model, plan, calibration, context, _moments(context))
    divergence(parent.model, cut_to_plan(parent.model, plan, kept, fitted), probes, context)


def _half(layer: "PlannedLayer") -> "PlannedLayer":
    """Returns a layer with half of its heads and channels."""
    sizes = {name: size // 2 for name, size in vars(layer).items() if name != "layer" and size is not None}
    return replace(layer, **sizes)


def _moments(context: "Context") -> Path:
    return context.store.root / "moments"


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures each operation on each shape, each in a process of its own.

    Raises:
        BenchmarkFailed: one of them fails.
    """
    rows, within = [], given.minutes * 60
    for shape in given.shapes:
        folder = scratch / shape
        with Child(scratch / "log") as child:
            child.call(make_shape, SHAPES[shape], Store(given.store), Store(folder))
        tokens = min(given.tokens or SHAPES[shape].input_tokens, SHAPES[shape].input_tokens)
        for operation in OPERATIONS:
            with Child(scratch / "log", available_cores()) as child:
                rows.append(child.call(measure_operation, shape, operation, folder, given.pairs, tokens, within))
            say(" ".join(row_of(rows[-1])))
    return record(pairs=given.pairs, within_seconds=within, rows=rows)


def row_of(row: Record) -> list[str]:
    memory = [f"{row[name] / 1e6:,.0f}" for name in ("fp32_bytes", "peak_bytes", "imported_bytes")]
    return [
        row["shape"],
        row["operation"],
        f"{row['tokens']:,}",
        f"{row['seconds']:.0f}",
        *memory,
        f"{row['times_fp32']:.2f}",
    ]


def lines(found: Record) -> Iterator[str]:
    yield f"{found['pairs']} calibration pairs. {measured_on(found)}"
    yield ""
    head = (
        "model",
        "operation",
        "input tokens",
        "seconds",
        "fp32 MB",
        "peak MB",
        "imports MB",
        "above imports, times fp32",
    )
    yield from table(head, map(row_of, found["rows"]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("structures", __doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=DEFAULT_SHAPES, help="those of the guide")
    parser.add_argument("--pairs", type=int, default=DEFAULT_PAIRS, help="calibration pairs")
    parser.add_argument("--tokens", type=int, help="of an input; as many as the shape allows by default")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="of the whole run")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
