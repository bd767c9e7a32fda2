"""`quantize`: stores a variant in fewer bits."""

from slimseq.compression.outcome import Outcome
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.compression.technique import Job, Technique


def run(job: Job, options: QuantizeOptions) -> Outcome:
    """Quantize a variant: int8 ONNX with dynamic activations where no other scheme is named."""
    manifest = quantize(job.context, job.task, job.parent, job.name, options, job.files)
    found = manifest.lineage[-1].parameters
    in_float = found.get("in_float", [])
    chosen = [f"Scheme: {options.scheme}."]
    if options.scheme not in ("bf16", "fp16"):
        chosen = [f"Scheme: {options.scheme}. Layers left in float: {', '.join(in_float) or 'none'}."]
    if "divergence" in found:
        chosen.append(f"Divergence from the float model: {found['divergence']:.4f} nats a target token.")
    return Outcome(manifest, chosen=chosen)


TECHNIQUE = Technique(
    name="quantize",
    run=run,
    default_name="quantized",
    default_parent="original",
    flags={"sensitive_layers": "--sensitive"},
    data="taken",
)
