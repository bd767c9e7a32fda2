"""`distill`: trains a student with fewer layers on labels and on its teacher."""

from slimseq.compression.distill import DistillOptions, distill
from slimseq.compression.outcome import Outcome
from slimseq.compression.technique import Job, Technique
from slimseq.compression.training.options import TrainingOptions


def run(job: Job, options: DistillOptions, training: TrainingOptions) -> Outcome:
    """Distill a variant into a student made of some of its layers.

    Without --max-seconds, --max-steps or --epochs training takes ten minutes; --max-steps 0 skips it.
    """
    return distill(
        job.context, job.task, job.parent, job.name, job.files, options, training, job.checkpoint, job.outputs
    )


TECHNIQUE = Technique(
    name="distill",
    run=run,
    default_name="distilled",
    defaults={"label_smoothing": 0.0, "dropout": 0.0, "learning_rate": 5e-4},
)
