"""`train`: a base model, from nothing or from what there is."""

from slimseq.compression.outcome import Outcome
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train import BaseOptions, train_base
from slimseq.compression.training.options import TrainingOptions
from slimseq.compression.training.scratch import NewModelOptions


def run(job: Job, options: BaseOptions, architecture: NewModelOptions, training: TrainingOptions) -> Outcome:
    """Train a base model from text files, or train a variant or a model folder further.

    Without --max-seconds, --max-steps or --epochs training takes ten minutes. With --checkpoint it can be interrupted
    (Ctrl-C) and gone on with by the same command.
    """
    start = job.parent or architecture
    return train_base(job.context, job.task, job.name, options, job.files, training, start, job.checkpoint)


TECHNIQUE = Technique(
    name="train",
    run=run,
    default_name="original",
    default_parent="",
    defaults={"learning_rate": 9e-4, "warmup_steps": 600, "tokens_per_batch": 1800},
    flags={"languages": "--language"},
)
