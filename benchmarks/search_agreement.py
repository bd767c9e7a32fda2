"""`python -m benchmarks.search_agreement`: how often the runtimes write the same text from the same float32 weights.

Greedy search must agree, token for token. CTranslate2's beam search ends by another rule than transformers', so with
beams its texts differ although its arithmetic is the same: the table says how often, and what that is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.agreement import copied, outputs, parser_of
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2, add_onnx
from slimseq.evaluation.bootstrap import PERCENTILES, resampled_sums
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.examples import Example
from slimseq.evaluation.metrics import PRIMARY_METRIC, MetricStatistics, score
from slimseq.inference.generator import TextOutput, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# The first is what the others are compared with: transformers' own search.
RUNTIMES = ("torch", "onnxruntime", "ctranslate2")


@dataclass(frozen=True)
class Agreement:
    """One runtime beside the first, for one number of beams.

    Args:
        runtime: its name.
        beams: of the search.
        same: share of texts that are the same as the first runtime's.
        tokens: mean length of outputs, the end token included.
        metric: the task's primary metric against the written targets.
        difference: to the first runtime's, with its 95 % paired bootstrap interval.
    """

    runtime: str
    beams: int
    same: float
    tokens: float
    metric: MetricStatistics
    difference: tuple[float, float, float]


def agreements(
    store: Store, task: Task, variant: str, examples: Sequence[Example], beams: Sequence[int]
) -> list[Agreement]:
    """Generates with every runtime and every number of beams.

    Args:
        store: holds the variant, with safetensors.
        task: the variant's.
        variant: what to generate with.
        examples: sources and written targets.
        beams: of the searches.

    Returns:
        For each number of beams, one agreement for each runtime; other settings are the variant's own.
    """
    with copied(store, task, variant) as scratch:
        context = Context(store=scratch)
        add_onnx(context, task, variant)
        add_ctranslate2(context, task, variant, "float32")
        written = {}
        for runtime in RUNTIMES:
            with open_generator(scratch, task, variant, runtime) as generator:
                for count in beams:
                    written[count, runtime] = outputs(generator, examples, count)
    return [
        _agreement(task, runtime, count, examples, written[count, runtime], written[count, RUNTIMES[0]])
        for count in beams
        for runtime in RUNTIMES
    ]


def _agreement(
    task: Task,
    runtime: str,
    beams: int,
    examples: Sequence[Example],
    outputs: Sequence[TextOutput],
    first: Sequence[TextOutput],
) -> Agreement:
    targets = [example.target for example in examples]
    found, base = (
        score(task, [output.text for output in each], targets).metrics[PRIMARY_METRIC[task]]
        for each in (outputs, first)
    )
    values = [each.value_of(resampled_sums(each.per_sample)) for each in (found, base)]
    low, high = np.percentile(values[0] - values[1], PERCENTILES)
    return Agreement(
        runtime=runtime,
        beams=beams,
        same=float(np.mean([a.text == b.text for a, b in zip(outputs, first, strict=True)])),
        tokens=float(np.mean([output.output_tokens for output in outputs])),
        metric=found,
        difference=(found.value - base.value, float(low), float(high)),
    )


def table(task: Task, found: Sequence[Agreement]) -> Table:
    """Returns the agreements as a table."""
    metric = PRIMARY_METRIC[task]
    shown = Table(
        "runtime", "beams", f"same as {RUNTIMES[0]}", "mean tokens", metric, f"{metric} above {RUNTIMES[0]}'s"
    )
    for each in found:
        value, low, high = each.difference
        shown.add_row(
            each.runtime,
            str(each.beams),
            f"{each.same:.1%}",
            f"{each.tokens:.2f}",
            f"{each.metric.value:.2f}",
            f"{value:+.2f} [{low:+.2f}, {high:+.2f}]",
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("search_agreement", __doc__)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args(arguments)
    data = load_examples(options.task, options.data, samples=options.samples)
    found = agreements(Store(options.store), options.task, options.variant, data.examples, options.beams)
    Console().print(table(options.task, found))
    Console().print(f"{data.name} ({data.split}), {len(data.examples)} samples, float32 weights")


if __name__ == "__main__":
    main()
