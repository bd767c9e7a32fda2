"""Loads examples for evaluation: the bundled sample, a public test set on the hub, or a file.

Results contain the name of the data set, never the path of a file.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from slimseq.evaluation.dataset_files import (
    ENDINGS,
    DatasetSample,
    DatasetUnavailable,
    Example,
    read_examples,
    read_parallel_text,
)
from slimseq.models_store.manifest import Task

MAX_REASON_CHARACTERS = 200
BUNDLED = "sample"
BUNDLED_SPLIT = "test"
BUNDLED_LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}
DEV_SPLITS = frozenset({"dev", "validation"})
SPLITS = DEV_SPLITS | {"train", "test"}
FILE_ENDINGS = tuple(f"{ending}{packed}" for ending in ENDINGS for packed in (".gz", ""))


@dataclass(frozen=True)
class HubDataset:
    task: Task
    repository: str
    configuration: str
    pair: Callable[[dict[str, Any]], tuple[str, str]]


HUB_DATASETS = {
    "cnn_dailymail": HubDataset(
        Task.SUMMARIZATION, "abisee/cnn_dailymail", "3.0.0", lambda row: (row["article"], row["highlights"])
    ),
    "wmt14-de-en": HubDataset(
        Task.TRANSLATION, "wmt/wmt14", "de-en", lambda row: (row["translation"]["en"], row["translation"]["de"])
    ),
}


def dataset_names(task: Task) -> tuple[str, ...]:
    return (BUNDLED, *(name for name, dataset in HUB_DATASETS.items() if dataset.task is task))


def load_examples(task: Task, name_or_path: str, split: str = "test", samples: int | None = None) -> DatasetSample:
    """Loads the first examples of a data set: all where `samples` is None.

    It is a name of `dataset_names(task)`, a `.jsonl`, `.csv` or `.tsv` file (each may end in `.gz`), or two parallel
    text files as `SOURCE:TARGET`. A file's name without extensions becomes that of the data set, and its split is its
    name before the first dot if that is `train`, `dev`, `validation` or `test`, else `split`.

    Raises:
        DatasetUnavailable: the data set does not exist, is empty, or cannot be read.
    """
    if samples is not None and samples < 1:
        raise DatasetUnavailable(f"samples must be at least 1, not {samples}")
    if name_or_path in HUB_DATASETS:
        if HUB_DATASETS[name_or_path].task is not task:
            known = ", ".join(dataset_names(task))
            raise DatasetUnavailable(
                f"{name_or_path} is for {HUB_DATASETS[name_or_path].task}; for {task} there is {known}"
            )
        name, found = name_or_path, read_from_hub(name_or_path, split, samples)
    elif name_or_path == BUNDLED:
        name, found = name_or_path, _bundled(task, split)
    else:
        name, split, found = _from_path(task, name_or_path, split)
    examples = tuple(islice(found, samples))
    if not examples:
        raise DatasetUnavailable(f"{name_or_path} has no examples")
    return DatasetSample(name, split, examples)


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
        found, file_name = read_parallel_text(path, Path(target)), path.name.removesuffix(".gz")
        # Without the language, which is its ending.
        name = file_name.rpartition(".")[0] or file_name
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


def read_from_hub(name: str, split: str, samples: int | None) -> Iterator[Example]:
    """Yields the first examples of a split of `HUB_DATASETS[name]`: `train`, `test`, or `validation` (also `dev`).

    Raises:
        DatasetUnavailable: `datasets` is not installed, or the hub cannot be reached or returns an error.
    """
    try:
        import datasets
    except ImportError as error:
        raise DatasetUnavailable(
            f"{name} needs the `datasets` library, which is not installed here: pip install '.[compress]'"
        ) from error
    dataset = HUB_DATASETS[name]
    # Without a network the library logs each retry; the error below says enough.
    hub_log = logging.getLogger("huggingface_hub")
    level = hub_log.level
    hub_log.setLevel(logging.ERROR)
    try:
        rows = datasets.load_dataset(
            dataset.repository,
            dataset.configuration,
            split="validation" if split == "dev" else split,
            streaming=not datasets.config.HF_HUB_OFFLINE,  # offline, only the cache can be read
        )
        for row in islice(rows, samples):
            source, target = dataset.pair(row)
            yield Example(source.strip(), target.strip())
    except Exception as error:  # the library also raises errors of several HTTP clients
        raise DatasetUnavailable(
            f"{name} cannot be read from {dataset.repository} on the Hugging Face hub: {_reason(error)}"
        ) from error
    finally:
        hub_log.setLevel(level)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:MAX_REASON_CHARACTERS]
