"""Loads examples for evaluation: a bundled sample, a public test set on the hub, or a file.

Results contain the name of the data set, never the path of a file.
"""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
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
# Bundled samples of other languages, by name.
BUNDLED_PORTUGUESE = "sample-pt"
DEV_SPLITS = frozenset({"dev", "validation"})
SPLITS = DEV_SPLITS | {"train", "test"}
FILE_ENDINGS = tuple(f"{ending}{packed}" for ending in ENDINGS for packed in (".gz", ""))


@dataclass(frozen=True)
class BundledSample:
    """A file of the folder `samples`, and its languages."""

    task: Task
    file: str
    languages: list[str]


BUNDLED_SAMPLES = {
    (Task.SUMMARIZATION, BUNDLED): BundledSample(
        Task.SUMMARIZATION, "summarization.jsonl", BUNDLED_LANGUAGES[Task.SUMMARIZATION]
    ),
    (Task.TRANSLATION, BUNDLED): BundledSample(
        Task.TRANSLATION, "translation.jsonl", BUNDLED_LANGUAGES[Task.TRANSLATION]
    ),
    (Task.TRANSLATION, BUNDLED_PORTUGUESE): BundledSample(
        Task.TRANSLATION, "translation-portuguese.jsonl", ["en", "pt"]
    ),
}


@dataclass(frozen=True)
class HubDataset:
    task: Task
    languages: list[str]
    repository: str
    configuration: str
    pair: Callable[[dict[str, Any]], tuple[str, str]]


HUB_DATASETS = {
    "cnn_dailymail": HubDataset(
        Task.SUMMARIZATION, ["en"], "abisee/cnn_dailymail", "3.0.0", lambda row: (row["article"], row["highlights"])
    ),
    "wmt14-de-en": HubDataset(
        Task.TRANSLATION,
        ["en", "de"],
        "wmt/wmt14",
        "de-en",
        lambda row: (row["translation"]["en"], row["translation"]["de"]),
    ),
}


def bundled_names(task: Task) -> tuple[str, ...]:
    return tuple(name for of_task, name in BUNDLED_SAMPLES if of_task is task)


def dataset_names(task: Task) -> tuple[str, ...]:
    return (*bundled_names(task), *(name for name, dataset in HUB_DATASETS.items() if dataset.task is task))


def available_datasets(task: Task) -> tuple[str, ...]:
    """Returns the names of data sets that can be read here. Data sets on the hub need the `datasets` library."""
    return dataset_names(task) if importlib.util.find_spec("datasets") else bundled_names(task)


def dataset_languages(task: Task, name: str) -> list[str]:
    """Returns the languages of a named data set: source and target, or the one language of summaries."""
    sample = BUNDLED_SAMPLES.get((task, name))
    return sample.languages if sample is not None else HUB_DATASETS[name].languages


def bundled_sample(task: Task, languages: Sequence[str]) -> str | None:
    """Returns the name of the bundled sample of some languages, None if there is none."""
    found = (name for (of_task, name), each in BUNDLED_SAMPLES.items() if of_task is task)
    return next((name for name in found if dataset_languages(task, name) == list(languages)), None)


def load_examples(task: Task, name_or_path: str, split: str = "test", samples: int | None = None) -> DatasetSample:
    """Loads the first examples of a data set, or all examples if `samples` is None.

    The data set is a name of `dataset_names(task)`, a `.jsonl`, `.csv` or `.tsv` file (each may end in `.gz`), or two
    parallel text files as `SOURCE:TARGET`. A file's name without extensions becomes the name of the data set. If the
    name before the first dot is `train`, `dev`, `validation` or `test`, it becomes the split, else `split` does.

    Raises:
        DatasetUnavailable: the data set does not exist, is empty, or cannot be read.
    """
    if samples is not None and samples < 1:
        raise DatasetUnavailable(f"samples must be at least 1, not {samples}")
    name, split, found = open_examples(task, name_or_path, split, samples)
    examples = tuple(islice(found, samples))
    if not examples:
        raise DatasetUnavailable(f"{name_or_path} has no examples")
    return DatasetSample(name, split, examples)


def open_examples(
    task: Task, name_or_path: str, split: str = "test", samples: int | None = None
) -> tuple[str, str, Iterator[Example]]:
    """Returns the name, the split and the examples of a data set, as `load_examples` names it.

    Examples are read one by one. `samples` is how many examples of a hub data set are read.
    """
    if name_or_path in HUB_DATASETS:
        if HUB_DATASETS[name_or_path].task is not task:
            known = ", ".join(dataset_names(task))
            raise DatasetUnavailable(
                f"{name_or_path} is for {HUB_DATASETS[name_or_path].task}; for {task} there is {known}"
            )
        return name_or_path, split, read_from_hub(name_or_path, split, samples)
    if (task, name_or_path) in BUNDLED_SAMPLES:
        return name_or_path, split, _bundled(BUNDLED_SAMPLES[task, name_or_path], split)
    return _from_path(task, name_or_path, split)


def _bundled(sample: BundledSample, split: str) -> Iterator[Example]:
    if split != BUNDLED_SPLIT:
        raise DatasetUnavailable(f"a bundled sample has only the split {BUNDLED_SPLIT!r}, not {split!r}")
    with resources.as_file(resources.files("slimseq.evaluation") / "samples" / sample.file) as path:
        yield from read_examples(sample.task, path)


def _from_path(task: Task, text: str, split: str) -> tuple[str, str, Iterator[Example]]:
    path = Path(text)
    ending = next((ending for ending in FILE_ENDINGS if text.endswith(ending)), None)
    source, separator, target = text.rpartition(":")
    if separator and source and target and not path.exists():
        path = Path(source)
        found, file_name = read_parallel_text(path, Path(target)), path.name.removesuffix(".gz")
        # The name without its ending, which is the language.
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
