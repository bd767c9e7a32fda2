"""`quantize`: stores a variant in fewer bits."""

from compression.outcome import Outcome
from compression.quantize import QuantizeOptions, quantize
from compression.technique import Job, Technique


def run(job: Job, options: QuantizeOptions) -> Outcome:
    """Quantize a variant: int8 ONNX with dynamic activations where no other scheme is named."""
    return Outcome(quantize(job.context, job.task, job.parent, job.name, options, job.files))


TECHNIQUE = Technique(
    name="quantize",
    run=run,
    default_name="quantized",
    default_parent="original",
    flags={"sensitive_layers": "--sensitive"},
    data="taken",
)
