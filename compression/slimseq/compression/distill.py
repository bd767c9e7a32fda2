"""`distill`: a student that has some of the teacher's layers learns from labels and from the teacher.

The student can learn the teacher's output distribution, and the texts that the teacher generates. In a recipe:

    - distill: {decoder_layers: 2, sequence_level: replace, epochs: 1, learning_rate: 5.0e-4}
"""

import time
from dataclasses import dataclass, field

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.artifacts.parent import open_parent
from slimseq.compression.models import architecture_of_model
from slimseq.compression.options import STUDENT, TRAINING, flat, flat_values
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.training_options import SequenceLevel, TrainingOptions
from slimseq.inference.models.architecture import Architecture


@flat(STUDENT)
@dataclass(frozen=True)
class DistillOptions:
    """Which layers the student has, and whether it learns from the teacher's outputs.

    Without the teacher's distribution (`alpha` 0) and without its outputs, the student learns from labels alone. This
    is "shrink and fine-tune", the baseline of Shleifer & Rush 2020, https://arxiv.org/abs/2010.13002.
    """

    encoder_layers: int | None = None
    """Number of encoder layers to keep, evenly spaced; `prune` keeps those that matter most. By default all."""
    decoder_layers: int | None = None
    """Number of decoder layers to keep, evenly spaced. By default half."""
    sequence: SequenceLevel = field(default_factory=SequenceLevel)


@flat(TRAINING)
@dataclass(frozen=True)
class StudentTraining(TrainingOptions):
    """How to train a student: on the teacher's whole distribution, without regularization."""

    learning_rate: float = 5e-4
    label_smoothing: float = 0.0
    dropout: float | None = 0.0


def distill(job: Job, options: DistillOptions, training: TrainingOptions) -> Outcome:
    """Distills an artifact, the teacher, and publishes the student with the report of its training.

    Raises:
        BadParameters: the options don't fit the model.
        BadData: a file cannot be used.
        TrainingDiverged: training failed; nothing is published.
    """
    from slimseq.compression.from_parent import learn_from_parent, read_data
    from slimseq.compression.prune.layers import keep_layers, layers_in_words

    started = time.monotonic()
    training.check()
    parent = open_parent(job.context, job.task, job.parent, job.name)
    architecture = architecture_of_model(parent.model)
    kept = kept_layers(architecture, options)
    student = keep_layers(parent.model, kept)
    material = read_data(job, parent, options.sequence, training)
    counts = " and ".join(f"{len(kept[s.name])} of {len(s.layers)} {s.name} layers" for s in architecture.stacks)
    description = f"A student of {job.parent} with {counts}."
    return learn_from_parent(
        job,
        parent,
        student,
        material,
        training,
        technique=TECHNIQUE.name,
        description=description,
        parameters={**flat_values(options), "kept_layers": kept},
        doing="Distilling",
        started=started,
        chosen=[description, layers_in_words(kept)],
    )


def kept_layers(architecture: Architecture, options: DistillOptions) -> dict[str, list[int]]:
    """Returns the teacher's layers that the student takes, evenly spaced, for the `encoder` and the `decoder`."""
    from slimseq.compression.prune.layers import check_layers, evenly_spaced

    encoder, decoder = (len(stack.layers) for stack in architecture.stacks)
    encoder_keep = encoder if options.encoder_layers is None else options.encoder_layers
    decoder_keep = max(1, decoder // 2) if options.decoder_layers is None else options.decoder_layers
    kept = {}
    for stack, count, keep in (("encoder", encoder, encoder_keep), ("decoder", decoder, decoder_keep)):
        check_layers(stack, count, keep)
        kept[stack] = evenly_spaced(count, keep)
    return kept


TECHNIQUE = Technique(
    "distill", distill, [DistillOptions, StudentTraining], needs_data=True, uses_dev=True, requires="torch"
)
