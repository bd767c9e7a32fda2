"""Loads examples for evaluation: the bundled sample, a public test set on the hub, or a file.

Results contain the name of the data set, never the path of a file.
"""

from collections.abc import Iterator
from importlib import resources
from itertools import islice
from pathlib import Path

from slimseq.evaluation.examples import DatasetSample, DatasetUnavailable, Example
from slimseq.evaluation.readers.dataset_files import ENDINGS, read_examples, read_parallel_text
from slimseq.evaluation.readers.hub_datasets import HUB_DATASETS, read_from_hub
from slimseq.models_store.manifest import Task

__all__ = ["DatasetSample", "DatasetUnavailable", "Example", "dataset_names", "load_examples"]

BUNDLED = "sample"
BUNDLED_SPLIT = "test"
SPLITS = frozenset({"train", "dev", "validation", "test"})
FILE_ENDINGS = tuple(f"{ending}{packed}" for ending in ENDINGS for packed in (".gz", ""))


def dataset_names(task: Task) -> tuple[str, ...]:
    """Returns the named data sets of a task. Every other name is a path."""
    return (BUNDLED, *(name for name, dataset in HUB_DATASETS.items() if dataset.task is task))


def load_examples(task: Task, name_or_path: str, split: str = "test", samples: int | None = None) -> DatasetSample:
    """Loads the first examples of a data set.

    Args:
        task: of the examples.
        name_or_path: a name of `dataset_names(task)`, a `.jsonl`, `.csv` or `.tsv` file (each may end in `.gz`), or two
            parallel text files as `SOURCE:TARGET`.
        split: the split of a named data set. A file's split is its name before the first dot if that is `train`,
            `dev`, `validation` or `test`, else this.
        samples: the number of examples; None means all.

    Returns:
        At least one example, with the name of the data set; for a path, the file name without extensions.

    Raises:
        DatasetUnavailable: the data set does not exist, is empty, or cannot be read.
    """
    if samples is not None and samples < 1:
        raise DatasetUnavailable(f"samples must be at least 1, not {samples}")
    if name_or_path in HUB_DATASETS:
        name, found = name_or_path, _from_hub(task, name_or_path, split, samples)
    elif name_or_path == BUNDLED:
        name, found = name_or_path, _bundled(task, split)
    else:
        name, split, found = _from_path(task, name_or_path, split)
    examples = tuple(islice(found, samples))
    if not examples:
        raise DatasetUnavailable(f"{name_or_path} has no examples")
    return DatasetSample(name, split, examples)


def _from_hub(task: Task, name: str, split: str, samples: int | None) -> Iterator[Example]:
    dataset = HUB_DATASETS[name]
    if dataset.task is not task:
        raise DatasetUnavailable(f"{name} is for {dataset.task}; for {task} there is {', '.join(dataset_names(task))}")
    return read_from_hub(name, split, samples)


def _bundled(task: Task, split: str) -> Iterator[Example]:
    if split != BUNDLED_SPLIT:
        raise DatasetUnavailable(f"the bundled sample has only the split {BUNDLED_SPLIT!r}, not {split!r}")
    with resources.as_file(resources.files("slimseq.evaluation") / "samples" / f"{task.value}.jsonl") as path:
        yield from read_examples(task, path)


def _from_path(task: Task, text: str, split: str) -> tuple[str, str, Iterator[Example]]:
    path = Path(text)
    ending = next((ending for ending in FILE_ENDINGS if text.endswith(ending)), None)
    source, separator, target = text.rpartition(":")
    if separator and source and target and not path.exists():
        path = Path(source)
        found, name = read_parallel_text(path, Path(target)), _without_language(path.name)
    elif ending is not None:
        found = read_examples(task, path)
        name = path.name.removesuffix(ending)
    else:
        raise DatasetUnavailable(
            f"there is no data set {text!r}: name one of {', '.join(dataset_names(task))}, a file that ends in "
            f"{', '.join(FILE_ENDINGS)}, or two parallel text files as SOURCE:TARGET"
        )
    first = name.split(".", 1)[0]
    return name, first if first in SPLITS else split, found


def _without_language(file_name: str) -> str:
    name = file_name.removesuffix(".gz")
    return name.rpartition(".")[0] or name
