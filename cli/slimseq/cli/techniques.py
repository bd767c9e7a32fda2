"""The verbs of techniques: `train`, `prune`, `distill`, `average` and `quantize`.

Each takes what the technique's options dataclasses declare, and has it applied to one variant.
"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.cli.applying import NewVariant, TrainingRun, apply_technique
from slimseq.cli.arguments import FLAG, TaskArgument, TechniqueOptions, VariantArgument, WorkersOption
from slimseq.compression import average as averaging
from slimseq.compression import distill as distillation
from slimseq.compression import train_base as base_training
from slimseq.compression.from_nothing.new_model import NewModelOptions
from slimseq.compression.options import COMMON, SEQUENCE_LEVEL, TRAINING, without
from slimseq.compression.prune import prune as pruning
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.quantize import quantize as quantization
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.train.data.training_data import DataFiles

NameOption = Annotated[str, Parameter(group=COMMON, help="Name of the new variant.")]
FromOption = Annotated[
    str,
    Parameter(name="--from", group=COMMON, help="Variant or model folder to train further. By default a new model."),
]
CheckpointOption = Annotated[
    Path | None,
    Parameter(
        group=TRAINING,
        help="Folder for checkpoints, from which the same command resumes after an interruption. By default in the "
        "store, removed at the end.",
    ),
]
AnewOption = Annotated[
    bool, FLAG, Parameter(group=TRAINING, help="Start anew, not from what an interrupted run of the same command left.")
]
TeacherOutputsOption = Annotated[
    Path | None,
    Parameter(
        group=SEQUENCE_LEVEL,
        help="File of `generate --as-is` with the teacher's outputs for all texts, .jsonl or .parquet. Then nothing is "
        "generated here.",
    ),
]
# Options that a verb lacks, since its technique does not use them.
UntaughtData = Annotated[DataFiles, without("calibration", "unlabelled")]
UntaughtTraining = Annotated[base_training.BaseTraining, without("alpha", "temperature")]
UncalibratedData = Annotated[DataFiles, without("calibration")]
CalibrationData = Annotated[quantization.OptionalData, without("dev", "mixture", "unlabelled", "exclude")]
Unseeded = Annotated[TechniqueOptions, without("seed", "device")]


def train(
    task: TaskArgument,
    /,
    *,
    files: UntaughtData,
    start: FromOption = "",
    name: NameOption = "original",
    base: base_training.BaseOptions = base_training.BaseOptions(),
    new: NewModelOptions = NewModelOptions(),
    training: UntaughtTraining = base_training.BaseTraining(),
    checkpoint: CheckpointOption = None,
    anew: AnewOption = False,
    shared: TechniqueOptions = TechniqueOptions(),
) -> None:
    """Train a new model from text files, or train a variant or a model folder further.

    Without --max-seconds, --max-steps or --epochs training takes ten minutes. The same command resumes a training that
    was interrupted (Ctrl-C).
    """
    is_folder = bool(start) and ("/" in start or Path(start).is_dir())
    apply_technique(
        base_training.TECHNIQUE,
        [base, new, training],
        shared,
        NewVariant(task, name, parent=start, files=files, is_folder=is_folder),
        TrainingRun(checkpoint, anew),
    )


def prune(
    task: TaskArgument,
    variant: VariantArgument,
    /,
    *,
    files: DataFiles,
    name: NameOption = "pruned",
    structure: PruneOptions = PruneOptions(),
    training: pruning.Recovery = pruning.Recovery(),
    checkpoint: CheckpointOption = None,
    anew: AnewOption = False,
    workers: WorkersOption = 1,
    shared: TechniqueOptions = TechniqueOptions(),
) -> None:
    """Prune a variant: parts are really removed, then it recovers on labels and on the unpruned model.

    Without --max-seconds, --max-steps or --epochs recovery takes ten minutes; --max-steps 0 skips it. The same command
    resumes a recovery that was interrupted (Ctrl-C).
    """
    apply_technique(
        pruning.TECHNIQUE,
        [structure, training],
        shared,
        NewVariant(task, name, parent=variant, files=files),
        TrainingRun(checkpoint, anew, workers),
    )


def distill(
    task: TaskArgument,
    variant: VariantArgument,
    /,
    *,
    files: UncalibratedData,
    name: NameOption = "distilled",
    student: distillation.DistillOptions = distillation.DistillOptions(),
    training: distillation.StudentTraining = distillation.StudentTraining(),
    checkpoint: CheckpointOption = None,
    anew: AnewOption = False,
    workers: WorkersOption = 1,
    teacher_outputs: TeacherOutputsOption = None,
    shared: TechniqueOptions = TechniqueOptions(),
) -> None:
    """Distill a variant into a student made of some of its layers.

    Without --max-seconds, --max-steps or --epochs training takes ten minutes; --max-steps 0 skips it. The same command
    resumes a training that was interrupted (Ctrl-C).
    """
    apply_technique(
        distillation.TECHNIQUE,
        [student, training],
        shared,
        NewVariant(task, name, parent=variant, files=files, teacher_outputs=teacher_outputs),
        TrainingRun(checkpoint, anew, workers),
    )


def average(
    task: TaskArgument,
    variant: VariantArgument,
    /,
    *,
    name: NameOption = "averaged",
    options: averaging.AverageOptions = averaging.AverageOptions(),
    shared: TechniqueOptions = TechniqueOptions(),
) -> None:
    """Average a variant's weights with those of another of its shape, or with those from before its training."""
    apply_technique(averaging.TECHNIQUE, [options], shared, NewVariant(task, name, parent=variant))


def quantize(
    task: TaskArgument,
    variant: VariantArgument = "original",
    /,
    *,
    files: CalibrationData = quantization.OptionalData(),
    name: NameOption = "quantized",
    options: QuantizeOptions = QuantizeOptions(),
    shared: Unseeded = TechniqueOptions(),
) -> None:
    """Quantize a variant: by default to int8 ONNX with dynamic quantization of activations."""
    apply_technique(quantization.TECHNIQUE, [options], shared, NewVariant(task, name, parent=variant, files=files))
