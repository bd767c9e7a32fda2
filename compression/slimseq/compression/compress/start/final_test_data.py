"""The test data of a run: it decides nothing, and is read at the start only to see that it can be measured on."""

from collections.abc import Sequence

from slimseq.compression.held_out import check_enough
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.datasets import HUB_DATASETS, load_examples
from slimseq.models_store.manifest import Task


def read_test_data(task: Task, names: Sequence[str]) -> dict[str, tuple[Example, ...]]:
    """Reads test files, and checks that each has enough pairs. Data sets of a hub take long to read, and are left out.

    Returns:
        The examples of each file, by its name.

    Raises:
        BadData: there are too few pairs to record a score.
        DatasetUnavailable: a file cannot be read.
    """
    found = {name: load_examples(task, name).examples for name in names if name not in HUB_DATASETS}
    for name, examples in found.items():
        check_enough(name, len(examples), "to record a score")
    return found
