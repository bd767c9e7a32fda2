"""Distills: a student made of some of the teacher's layers learns from labels and from the teacher's distribution."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compression.anatomy import Anatomy, Stack, anatomy_of
from compression.context import Context
from compression.errors import BadParameters
from compression.outcome import Derivation, Outcome, learn_from_parent
from compression.parent import open_parent
from compression.rebuild import rebuild
from compression.training.data import DataFiles, read_material
from compression.training.trainer import TrainingOptions
from models_store.manifest import Family, Task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class DistillOptions:
    """How many layers the student has. None keeps the teacher's encoder, and half of its decoder."""

    encoder_layers: int | None = None
    decoder_layers: int | None = None


def distill(
    context: Context,
    task: Task,
    variant: str,
    name: str,
    files: DataFiles,
    options: DistillOptions,
    training: TrainingOptions,
    checkpoint_folder: Path | None = None,
) -> Outcome:
    """Distills an artifact and publishes the student.

    Args:
        context: store, seed and device.
        task: the artifact's task.
        variant: the teacher.
        name: what to call the student.
        files: training and dev data.
        options: the student's layers.
        training: how to train; its `alpha` and `temperature` weigh and soften what the teacher says.
        checkpoint_folder: where training is checkpointed and resumed from.

    Returns:
        The new artifact and the report of its training.

    Raises:
        BadParameters: the options don't fit the model.
        BadData: a file cannot be used.
        TrainingDiverged: training failed; nothing is published.
    """
    started = time.monotonic()
    training.check()
    parent = open_parent(context, task, variant, name)
    anatomy = anatomy_of(parent.model)
    kept = kept_layers(anatomy, options)
    student = student_of(parent.model, kept)
    material = read_material(task, files, parent.tokenizer, parent.manifest.generation.prefix, parent.limits)
    counts = " and ".join(f"{len(kept[s.name])} of {len(s.layers)} {s.name} layers" for s in anatomy.stacks)
    derivation = Derivation(
        technique="distill",
        name=name,
        description=f"A student of {variant} with {counts}.",
        parameters={**asdict(options), "kept_layers": kept},
        data=files.train,
        started=started,
        doing="Distilling",
    )
    return learn_from_parent(context, parent, student, material, training, derivation, checkpoint_folder)


def student_layers(teacher_layers: int, keep: int) -> list[int]:
    """Returns which layers a student takes: evenly spaced, the first and the last among them.

    Shleifer & Rush 2020, https://arxiv.org/abs/2010.13002: a student that starts from spread layers of its teacher
    needs little training. One layer alone is the first.

    Args:
        teacher_layers: how many the teacher has.
        keep: how many the student gets.

    Raises:
        BadParameters: `keep` is below 1 or above `teacher_layers`.
    """
    if not 1 <= keep <= teacher_layers:
        raise BadParameters(f"a student cannot keep {keep} of {teacher_layers} layers")
    if keep == 1:
        return [0]
    return [round(index * (teacher_layers - 1) / (keep - 1)) for index in range(keep)]


def kept_layers(anatomy: Anatomy, options: DistillOptions) -> dict[str, list[int]]:
    """Returns the teacher's layers that the student takes, for the `encoder` and the `decoder`.

    Raises:
        BadParameters: a stack cannot keep that many.
    """
    encoder, decoder = (len(stack.layers) for stack in anatomy.stacks)
    return {
        "encoder": student_layers(encoder, encoder if options.encoder_layers is None else options.encoder_layers),
        "decoder": student_layers(
            decoder, max(1, decoder // 2) if options.decoder_layers is None else options.decoder_layers
        ),
    }


def student_of(teacher: "PreTrainedModel", kept: dict[str, list[int]]) -> "PreTrainedModel":
    """Returns a student with copies of the teacher's layers, before any training.

    T5's relative position bias stands in block 0 and serves its whole stack; it goes to the student's block 0,
    whichever block that was.

    Args:
        teacher: a T5 or BART; stays as it is.
        kept: layers to take, for the `encoder` and the `decoder`.
    """
    anatomy = anatomy_of(teacher)
    state: dict[str, torch.Tensor] = dict(teacher.state_dict())
    for stack in anatomy.stacks:
        _take_layers(state, stack, kept[stack.name])
    encoder, decoder = len(kept["encoder"]), len(kept["decoder"])
    if anatomy.family is Family.T5:
        return rebuild(teacher, {"num_layers": encoder, "num_decoder_layers": decoder}, state)
    return rebuild(teacher, {"encoder_layers": encoder, "decoder_layers": decoder, "num_hidden_layers": encoder}, state)


def _take_layers(state: "dict[str, torch.Tensor]", stack: Stack, kept: list[int]) -> None:
    prefix = f"{stack.layers_name}."
    bias_name = stack.layers[0].self_attention.position_bias
    bias = state.get(f"{bias_name}.weight")
    found = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    for new, old in enumerate(kept):
        old_prefix = f"{prefix}{old}."
        for name, tensor in found.items():
            if name.startswith(old_prefix):
                state[f"{prefix}{new}.{name.removeprefix(old_prefix)}"] = tensor
    if bias is not None:
        state[f"{bias_name}.weight"] = bias
