"""`average`: averages a variant's weights with those that it was trained on from."""

from slimseq.compression.average import AverageOptions, average
from slimseq.compression.outcome import Outcome
from slimseq.compression.technique import Job, Technique


def run(job: Job, options: AverageOptions) -> Outcome:
    """Average a variant's weights with those of another of its shape, or with those that it was trained on from."""
    return average(job.context, job.task, job.parent, job.name, options)


TECHNIQUE = Technique(name="average", run=run, default_name="averaged", data="unused")
