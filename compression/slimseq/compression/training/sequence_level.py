"""Sequence-level distillation: which training examples get what a teacher writes as their target.

Kim & Rush 2016, https://arxiv.org/abs/1606.07947.
"""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.training.data import Material
from slimseq.compression.training.distributed import Processes
from slimseq.compression.training.options import SequenceLevel
from slimseq.compression.training.teacher_outputs import teacher_outputs
from slimseq.evaluation.examples import Example
from slimseq.models_store.manifest import Task

# Keeps this draw apart from those that mix and order the data.
SEQUENCE_STREAM = 0x5E9


def learning_from_outputs(
    context: Context,
    task: Task,
    variant: str,
    material: Material,
    options: SequenceLevel,
    folder: Path | None,
    is_distributed: bool = False,
) -> Material:
    """Returns the material with a teacher's outputs among the training targets, or as it is where that is off.

    Args:
        context: the store, the seed that draws a share, and where progress goes.
        task: the teacher's task.
        variant: what is started from, the teacher where the options name none.
        material: training examples, as texts.
        options: how many outputs, and in whose place.
        folder: where outputs are kept; they may be shared by all runs. None keeps none.
        is_distributed: whether other processes wait for the first to ask.

    Raises:
        BadParameters: the number of beams is out of range, or there are sources without targets and nobody to write
            them.
        UnknownVariant, InvalidArtifact, CorruptArtifact, RuntimeUnavailable: the teacher cannot be opened.
    """
    if not options.is_on:
        if any(not example.target for example in material.train.examples):
            raise BadParameters("unlabelled data has no targets: let a teacher write them, with `sequence_level`")
        return material
    processes = Processes.launched(context.device) if is_distributed else Processes()
    with processes.main_first():
        examples = _with_outputs(
            context, task, options.sequence_teacher or variant, material.train.examples, options, folder
        )
    return replace(material, train=material.train.with_examples(examples))


def _with_outputs(
    context: Context,
    task: Task,
    teacher: str,
    examples: Sequence[Example],
    options: SequenceLevel,
    folder: Path | None,
) -> list[Example]:
    """Returns the training examples; those that were not drawn keep their targets, if they have some."""
    drawn = np.random.default_rng((SEQUENCE_STREAM, context.seed)).random(len(examples)) < options.sequence_share
    drawn |= np.array([not example.target for example in examples])
    chosen = [example for example, is_drawn in zip(examples, drawn, strict=True) if is_drawn]
    with nullcontext(folder) if folder is not None else tempfile.TemporaryDirectory() as cache:
        outputs = teacher_outputs(context, task, teacher, chosen, Path(cache), options.sequence_beams)
    is_written_kept = options.sequence_level == "add"
    written = [example for example, is_drawn in zip(examples, drawn, strict=True) if is_written_kept or not is_drawn]
    return [*(example for example in written if example.target), *outputs]
