"""A store with a tiny original that `prepare` has completed, and a pruned variant of it."""

from pathlib import Path

from slimseq.compression.context import Context
from slimseq.compression.prepare import prepare
from slimseq.compression.prune.prune import PruneOptions, prune
from slimseq.compression.technique import Job
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.compression.train.options import TrainingOptions
from slimseq.compression.train.schedule import Bounds
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file
from tests.families import Family


def prepared(tmp_path: Path, measure: bool = False) -> Context:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    prepare(context, measure)
    return context


def prune_small(context: Context, tmp_path: Path) -> None:
    """Makes `translation/small` of the original, untrained."""
    prune(
        Job(context, Task.TRANSLATION, "original", "small", DataFiles([tiny_file(tmp_path)])),
        PruneOptions(),
        TrainingOptions(Bounds(max_steps=0)),
    )
