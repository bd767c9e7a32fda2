from pathlib import Path

import pytest

from slimseq.compression.distill import DistillOptions, distill
from slimseq.compression.errors import BadParameters
from slimseq.compression.training.data import DataFiles, Material
from slimseq.compression.training.options import SequenceLevel
from slimseq.compression.training.schedule import Bounds
from slimseq.compression.training.sequence_level import learning_from_outputs
from slimseq.compression.training.teacher_outputs import teacher_outputs
from slimseq.compression.training.trainer import TrainingOptions
from slimseq.models_store.manifest import Family, Task
from tests.compression.tiny import (
    EXAMPLES,
    tiny_artifact,
    tiny_context,
    tiny_file,
    tiny_set,
    tiny_tokenizer,
)

TASK = Task.TRANSLATION


def material(folder: Path) -> Material:
    examples = tiny_set(tiny_tokenizer(Family.T5, folder / "tokenizer"))
    return Material(examples, examples.first(1), None)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(BadParameters, match="at most 1"):
        SequenceLevel(sequence_share=share).check()


def test_nothing_is_asked_where_it_is_off(tmp_path: Path) -> None:
    given = material(tmp_path)

    assert learning_from_outputs(tiny_context(tmp_path), TASK, "missing", given, SequenceLevel(), tmp_path) is given


def test_another_variant_than_the_parent_can_write(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.T5, tmp_path)
    files, training = DataFiles([tiny_file(tmp_path)]), TrainingOptions(bounds=Bounds(max_steps=2))
    distill(context, TASK, "original", "small", files, DistillOptions(decoder_layers=1), training)
    options = SequenceLevel(sequence_level="replace", sequence_beams=4, sequence_teacher="original")

    learned = learning_from_outputs(context, TASK, "small", material(tmp_path), options, tmp_path / "outputs")

    assert learned.train.examples == teacher_outputs(context, TASK, "original", EXAMPLES, tmp_path / "outputs", 4)
