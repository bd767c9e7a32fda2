"""Copies of a store with a tiny original that `prepare` has completed, and of a pruned variant of it."""

import functools
import shutil
from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.prepare import prepare
from slimseq.compression.prune.prune import prune
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import MADE, tiny_context, tiny_file, tiny_store


@functools.cache
def _prepared(measure: bool, has_small: bool) -> Path:
    folder = Path(MADE.name, f"prepared-{measure}-{has_small}")
    context = tiny_store(folder)
    prepare(context, measure)
    if has_small:
        job = Job(context, Task.TRANSLATION, "original", "small", DataFiles([tiny_file(folder)]))
        prune(job, PruneOptions(), TrainingOptions(Bounds(max_steps=0)))
    return context.store.root


def prepared(folder: Path, measure: bool = False, has_small: bool = False) -> Context:
    """Returns a completed store in a folder; `translation/small` is the original pruned, untrained."""
    context = tiny_context(folder)
    shutil.copytree(_prepared(measure, has_small), context.store.root)
    return context
