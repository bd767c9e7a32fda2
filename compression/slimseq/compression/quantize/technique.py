"""`quantize`: its verb and its step in recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.commands.arguments import TaskArgument, VariantArgument
from slimseq.compression.options import COMMON, DATA, UNUSED, flat
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.technique import CommonOptions, Job, NameOption, Technique, apply_technique
from slimseq.compression.training.data.mixture import Mixture
from slimseq.compression.training.data.pairs import DataFiles


@flat(DATA)
@dataclass(frozen=True)
class OptionalData(DataFiles):
    """Data files, which only some schemes need."""

    train: Annotated[Sequence[str], Parameter(name="--data", group=COMMON)] = ()
    """Data for int8-static and --aware-steps: a .jsonl or .tsv file (also .gz), or two texts as SOURCE:TARGET.
    Repeatable."""
    calibration: Sequence[str] = ()
    """Calibration data of int8-static. Repeatable. By default the first rows of --data."""
    dev: Annotated[Sequence[str], Parameter(group=COMMON)] = ()
    """Held-out data, on which --fallback measures. Repeatable. By default the calibration data."""
    mixture: Annotated[Mixture, UNUSED] = field(default_factory=Mixture)
    unlabelled: Annotated[Sequence[str], UNUSED] = ()


def _run(job: Job, options: QuantizeOptions) -> Outcome:
    from slimseq.compression.quantize.quantize import quantize

    manifest = quantize(job.context, job.task, job.parent, job.name, options, job.files)
    found = manifest.lineage[-1].parameters
    in_float = found.get("in_float", [])
    chosen = [f"Scheme: {options.scheme}."]
    if options.scheme not in ("bf16", "fp16"):
        chosen = [f"Scheme: {options.scheme}. Layers left in float: {', '.join(in_float) or 'none'}."]
    if "divergence" in found:
        chosen.append(f"Divergence from the float model: {found['divergence']:.4f} nats a target token.")
    return Outcome(manifest, chosen=chosen)


TECHNIQUE = Technique("quantize", _run, [QuantizeOptions])


def command(
    task: TaskArgument,
    variant: VariantArgument = "original",
    /,
    *,
    files: OptionalData = OptionalData(),
    name: NameOption = "quantized",
    options: QuantizeOptions = QuantizeOptions(),
    common: CommonOptions = CommonOptions(),
) -> None:
    """Quantize a variant: by default to int8 ONNX with dynamic quantization of activations."""
    apply_technique(TECHNIQUE, task, variant, name, files, [options], common)
