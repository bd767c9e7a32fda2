"""Reads public test sets from the Hugging Face hub, row by row, without a full download."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from slimseq.evaluation.examples import DatasetUnavailable, Example
from slimseq.models_store.manifest import Task

MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True)
class HubDataset:
    """One data set on the hub. `pair` returns the source and the target of a row."""

    task: Task
    repository: str
    configuration: str
    pair: Callable[[dict[str, Any]], tuple[str, str]]


HUB_DATASETS = {
    "cnn_dailymail": HubDataset(
        task=Task.SUMMARIZATION,
        repository="abisee/cnn_dailymail",
        configuration="3.0.0",
        pair=lambda row: (row["article"], row["highlights"]),
    ),
    "wmt14-de-en": HubDataset(
        task=Task.TRANSLATION,
        repository="wmt/wmt14",
        configuration="de-en",
        pair=lambda row: (row["translation"]["en"], row["translation"]["de"]),
    ),
}
HUB_SPLITS = {"dev": "validation"}


def read_from_hub(name: str, split: str, samples: int | None) -> Iterator[Example]:
    """Yields the first examples of a split.

    Args:
        name: a key of `HUB_DATASETS`.
        split: `train`, `test`, or `validation` (also `dev`).
        samples: the number of examples; None means all.

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
            split=HUB_SPLITS.get(split, split),
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
