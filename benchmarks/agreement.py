"""What the commands that compare outputs have in common: options, a store to export into, and the comparison."""

import argparse
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.command import Record, parser_of
from slimseq.evaluation.bootstrap import PERCENTILES, resampled_sums
from slimseq.evaluation.datasets import BUNDLED
from slimseq.evaluation.examples import Example
from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


def variant_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that reads which variant to compare, and on what."""
    parser = parser_of(name, description)
    parser.add_argument("task", type=Task, choices=list(Task))
    parser.add_argument("variant", nargs="?", default="original", help="one with safetensors")
    parser.add_argument("--data", default=BUNDLED, help="a file, or the name of a data set; `sample` is bundled")
    parser.add_argument("--samples", type=int, help="the first how many; all by default")
    return parser


def add_origin(parser: argparse.ArgumentParser) -> None:
    """Adds the option that `of_origins` takes."""
    parser.add_argument("--origin", action="append", help="only examples of this origin and of none; repeatable")


def of_origins(examples: Sequence[Example], origins: Collection[str] | None) -> list[Example]:
    """Returns the examples of some origins and of none; all where no origins are named."""
    return [example for example in examples if origins is None or example.origin is None or example.origin in origins]


def copied(store: Store, task: Task, variant: str, scratch: Path) -> Store:
    """Returns a store of its own with one variant in it, without what was derived from that."""
    copy = Store(scratch / "artifacts")
    shutil.copytree(
        store.folder(task, variant), copy.folder(task, variant), ignore=shutil.ignore_patterns(*DERIVED_FORMATS)
    )
    return copy


def compared(
    task: Task, texts: Mapping[str, Sequence[str]], examples: Sequence[Example], metrics: Sequence[str]
) -> list[Record]:
    """Compares outputs with those of the first who wrote any.

    Returns:
        A row each: `name`, the share of the `same` outputs, `words` of an output on average, every metric against the
        written targets, and as `METRIC_above` how far that is above the first one's.
    """
    targets = [example.target for example in examples]
    scores = {name: score(task, written, targets).metrics for name, written in texts.items()}
    first = next(iter(texts))
    return [
        {
            "name": name,
            "same": float(np.mean([text == other for text, other in zip(written, texts[first], strict=True)])),
            "words": float(np.mean([len(text.split()) for text in written])),
            **{metric: scores[name][metric].value for metric in metrics},
            **{f"{metric}_above": _difference(scores[name][metric], scores[first][metric]) for metric in metrics},
        }
        for name, written in texts.items()
    ]


def _difference(found: MetricStatistics, base: MetricStatistics) -> str:
    """Returns how far a metric is above another one's on the same samples, and the 95 % paired bootstrap interval."""
    values = [each.value_of(resampled_sums(each.per_sample)) for each in (found, base)]
    low, high = np.percentile(values[0] - values[1], PERCENTILES)
    return f"{found.value - base.value:+.2f} [{low:+.2f}, {high:+.2f}]"
