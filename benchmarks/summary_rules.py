"""`python -m benchmarks.summary_rules`: what summaries made by rule are worth, which a small model can learn to make.

Each rule is scored beside lead-3 on the same documents: ROUGE-1 and ROUGE-2 with the difference to lead-3's and its
95 % paired bootstrap interval; so are a variant's own summaries where one is named. Choose on training and dev files.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.agreement import add_origin, of_origins, outputs
from slimseq.compression.training.data import read_examples
from slimseq.compression.training.embedded.extractive import claim, leading_sentences
from slimseq.evaluation.baselines import baseline
from slimseq.evaluation.bootstrap import PERCENTILES, resampled_sums
from slimseq.evaluation.examples import Example
from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

METRICS = ("rouge1", "rouge2")
LENGTHS = (24, 32, 38, 40, 48)
LEAD_3 = "lead-3"
Rule = Callable[[str], str]


def rules() -> dict[str, Rule]:
    """Returns the rules by what they are called; lead-3 is the first."""
    found: dict[str, Rule] = {LEAD_3: _lead_3}
    for words in LENGTHS:
        found[f"lead of {words} words"] = _lead(words, attributions=True)
        found[f"lead of {words} words, no attributions"] = _lead(words, attributions=False)
    found["claim, else lead-3"] = lambda document: claim(document) or _lead_3(document)
    return found


def _lead_3(document: str) -> str:
    return baseline(Task.SUMMARIZATION, document)


def _lead(words: int, attributions: bool) -> Rule:
    return lambda document: leading_sentences(document, words, attributions) or ""


def table(examples: Sequence[Example], written: Mapping[str, list[str]] | None = None) -> Table:
    """Scores every rule on the examples: its values, how far they are above lead-3's, and its mean length in words.

    Args:
        examples: documents and summaries.
        written: other summaries of the documents, by who wrote them.
    """
    shown = Table("rule", *METRICS, *(f"{metric} above lead-3's" for metric in METRICS), "words")
    targets = [example.target for example in examples]
    base: Mapping[str, MetricStatistics] = {}
    made = {name: [rule(example.source) for example in examples] for name, rule in rules().items()}
    for name, summaries in (made | dict(written or {})).items():
        found = score(Task.SUMMARIZATION, summaries, targets).metrics
        base = base or found
        words = np.mean([len(output.split()) for output in summaries])
        differences = [_difference(found[metric], base[metric]) for metric in METRICS]
        shown.add_row(name, *(f"{found[metric].value:.2f}" for metric in METRICS), *differences, f"{words:.0f}")
    return shown


def _difference(rule: MetricStatistics, base: MetricStatistics) -> str:
    sums = [resampled_sums(each.per_sample) for each in (rule, base)]
    low, high = np.percentile(rule.value_of(sums[0]) - base.value_of(sums[1]), PERCENTILES)
    return f"{rule.value - base.value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _written(store: Store, variant: str, examples: Sequence[Example]) -> list[str]:
    with open_generator(store, Task.SUMMARIZATION, variant, "onnxruntime", threads=1) as generator:
        beams = generator.manifest.generation.num_beams
        return [output.text for output in outputs(generator, examples, beams)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary_rules", description=__doc__)
    parser.add_argument("data", nargs="+", help="files of documents and summaries")
    add_origin(parser)
    parser.add_argument("--variant", action="append", default=[], help="whose summaries are scored too; repeatable")
    parser.add_argument("--store", type=Path, default=embedded_store(), help="holds the variants")
    options = parser.parse_args(arguments)
    examples = of_origins(read_examples(Task.SUMMARIZATION, options.data), options.origin)
    written = {name: _written(Store(options.store), name, examples) for name in options.variant}
    Console().print(table(examples, written))
    Console().print(f"{len(examples)} documents")


if __name__ == "__main__":
    main()
