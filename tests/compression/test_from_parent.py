"""The data of a job that learns from its parent: what is read, and what jobs of one process share."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.errors import BadData
from slimseq.compression.from_parent import read_data
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import SequenceLevel, TrainingOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_file, tiny_store

TRAINING = TrainingOptions(bounds=Bounds(max_steps=1))


def test_jobs_that_share_their_material_read_the_same_data_once(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    data = tiny_file(tmp_path)
    parent = open_parent(context, Task.TRANSLATION, "original", "first")
    job = Job(context, Task.TRANSLATION, "original", "first", DataFiles([data]), material={})
    first = read_data(job, parent, SequenceLevel(), TRAINING)
    Path(data).unlink()

    second = read_data(replace(job, name="second"), parent, SequenceLevel(), TRAINING)

    assert second.train.examples == first.train.examples


def test_jobs_that_share_their_material_read_other_data(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    data = tiny_file(tmp_path)
    parent = open_parent(context, Task.TRANSLATION, "original", "first")
    job = Job(context, Task.TRANSLATION, "original", "first", DataFiles([data]), material={})
    read_data(job, parent, SequenceLevel(), TRAINING)
    other = replace(job, files=DataFiles([str(tmp_path / "missing.jsonl")]))

    with pytest.raises(BadData, match="missing"):
        read_data(other, parent, SequenceLevel(), TRAINING)
