"""`python -m benchmarks.search_agreement`: how often the runtimes write the same text from the same float32 weights.

Greedy search must agree, token for token. CTranslate2's beam search ends by another rule than transformers', so with
beams its texts differ although its arithmetic is the same: the table says how often, and what that is worth.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.agreement import compared, copied, variant_parser
from benchmarks.command import Record, record, run
from benchmarks.sections import table_of
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2, add_onnx
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import PRIMARY_METRIC
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import TextOutput, open_generator
from slimseq.models_store.store import Store

# The first is what the others are compared with: transformers' own search.
RUNTIMES = ("torch", "onnxruntime", "ctranslate2")


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Generates with every runtime and every number of beams; other settings are the variant's own.

    Raises:
        SlimseqError: there is no such variant or data.
    """
    task, metric = given.task, PRIMARY_METRIC[given.task]
    data = load_examples(task, given.data, samples=given.samples)
    store = copied(Store(given.store), task, given.variant, scratch)
    add_onnx(Context(store), task, given.variant)
    add_ctranslate2(Context(store), task, given.variant, "float32")
    outputs: dict[int, dict[str, list[TextOutput]]] = {beams: {} for beams in given.beams}
    for runtime in RUNTIMES:
        with open_generator(store, task, given.variant, runtime) as generator:
            for beams in given.beams:
                options = generator.manifest.generation.options(num_beams=beams)
                outputs[beams][runtime] = generate_with(generator, options)(data.examples)
    rows = []
    for beams, written in outputs.items():
        texts = {runtime: [output.text for output in each] for runtime, each in written.items()}
        for row in compared(task, texts, data.examples, [metric]):
            tokens = mean(output.output_tokens for output in written[row["name"]])
            rows.append({"beams": beams, "tokens": tokens, **row})
    return record(data=data.name, split=data.split, samples=len(data.examples), metric=metric, rows=rows)


def lines(found: Record) -> Iterator[str]:
    """Yields a table, and what was read."""
    metric = found["metric"]
    columns = {
        "runtime": "{name}",
        "beams": "{beams}",
        f"same as {RUNTIMES[0]}": "{same:.1%}",
        "mean tokens": "{tokens:.2f}",
        metric: f"{{{metric}:.2f}}",
        f"{metric} above {RUNTIMES[0]}'s": f"{{{metric}_above}}",
    }
    yield from table_of(found["rows"], columns)
    yield from ("", f"{found['data']} ({found['split']}), {found['samples']} samples, float32 weights")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = variant_parser("search_agreement", __doc__)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
