"""`beams`: gives a variant's search as many beams as it needs."""

from slimseq.compression.beams import BeamOptions, fewer_beams
from slimseq.compression.outcome import Outcome
from slimseq.compression.technique import Job, Technique


def run(job: Job, options: BeamOptions) -> Outcome:
    """Give a variant's search the fewest beams that lose nothing that counts on dev data."""
    return fewer_beams(job.context, job.task, job.parent, job.name, options, job.files)


TECHNIQUE = Technique(name="beams", run=run, default_name="fewer-beams", data="dev")
