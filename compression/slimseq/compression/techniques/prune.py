"""`prune`: really removes parts of a variant and trains it to recover."""

from slimseq.compression.outcome import Outcome
from slimseq.compression.prune.prune import PruneOptions, prune
from slimseq.compression.technique import Job, Technique
from slimseq.compression.training.options import TrainingOptions


def run(job: Job, options: PruneOptions, training: TrainingOptions) -> Outcome:
    """Prune a variant: parts are really removed, then it recovers on labels and on the unpruned model.

    Without --max-seconds, --max-steps or --epochs recovery takes ten minutes; --max-steps 0 skips it.
    """
    return prune(job.context, job.task, job.parent, job.name, job.files, options, training, job.checkpoint, job.outputs)


TECHNIQUE = Technique(
    name="prune",
    run=run,
    default_name="pruned",
    defaults={"label_smoothing": 0.0, "dropout": 0.0},
)
