"""What `prune` and `distill` share: a model made from an artifact learns from labels and from that artifact."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slimseq.compression.artifacts.outcome import Outcome, step_of, training_parameters
from slimseq.compression.artifacts.parent import Parent
from slimseq.compression.artifacts.publish import derived, publish_model
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import Material, read_material, warn_of_languages
from slimseq.compression.train.loss import dev_loss
from slimseq.compression.train.sequence_level import learning_from_outputs
from slimseq.compression.train.trainer import train
from slimseq.compression.train.training_options import SequenceLevel, TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def read_data(
    job: Job,
    parent: Parent,
    sequence: SequenceLevel,
    training: TrainingOptions,
    calibration_samples: int = 1,
    is_read_whole: bool = False,
) -> Material:
    """Reads a job's data, with outputs of a teacher as targets if the options ask for them."""
    is_trained = not training.bounds.is_over_at_once
    is_read_whole = is_read_whole or is_trained
    known = {} if job.material is None else job.material
    name = f"{parent.manifest.digest} {job.files} {calibration_samples} {is_read_whole} {job.context.seed}"
    material = known.get(name)
    if material is None:
        with job.context.working(f"Reading {job.files.names}"):
            material = known[name] = read_material(
                job.context,
                job.task,
                job.files,
                parent.tokenizer,
                parent.manifest.generation.prefix,
                parent.limits,
                calibration_samples,
                is_read_whole=is_read_whole,
            )
    if not is_trained:
        return material
    if not parent.manifest.generation.language_tokens:
        warn_of_languages(job.context, material, parent.manifest.languages)
    return learning_from_outputs(
        job.context, job.task, job.parent, material, sequence, job.outputs, job.teacher_outputs
    )


def learn_from_parent(
    job: Job,
    parent: Parent,
    model: "PreTrainedModel",
    material: Material,
    training: TrainingOptions,
    *,
    technique: str,
    description: str,
    parameters: dict[str, Any],
    doing: str,
    started: float,
    chosen: Sequence[str],
) -> Outcome:
    """Trains a model with its parent as the teacher, publishes it and exports it to ONNX.

    Args:
        job: of the technique.
        parent: the artifact that is the teacher.
        model: a model that was made from the parent's. It is trained in place.
        material: training and dev data.
        training: how to train.
        technique: name of the technique, for the lineage.
        description: sentence for the model card.
        parameters: of the technique, for the lineage. Those of the training are added.
        doing: name of the work in the progress display.
        started: `time.monotonic()` at the start of the technique.
        chosen: the choices that the technique made, one line each.
    """
    context = job.context
    parent_dev_loss = dev_loss(parent.model, material.dev, context, training.precision) if material.dev else None
    report = train(
        model,
        material.train,
        training,
        context,
        teacher=parent.model,
        checkpoint_folder=job.checkpoint,
        dev=material.dev,
        describe=doing,
        pause_at=job.pause_at,
    )
    parameters = {**parameters, **training_parameters(report, training, job.files, has_teacher=True)}
    step = step_of(context, technique, parameters, parent.manifest.digest, started)
    identity = derived(parent.manifest, job.name, description, step)
    manifest = publish_model(context.store, model, parent.folder, identity)
    add_onnx(context, manifest.task, job.name)
    return Outcome(manifest, report, parent_dev_loss, chosen, report.remark(training))
