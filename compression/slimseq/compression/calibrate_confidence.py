"""`calibrate-confidence`: fits the map from log-probability to expected quality that the confidence of answers is.

For translations alone: log-probabilities of summaries say nothing of their quality (docs/decisions/027-confidence.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.context import Context
from slimseq.compression.options import COMMON, POSITIVE, flat
from slimseq.evaluation.calibration import CannotCalibrate, fit_confidence
from slimseq.evaluation.datasets import BUNDLED, BUNDLED_SPLIT, load_examples
from slimseq.evaluation.host import cpu_flags
from slimseq.evaluation.run import chunks, generate_with
from slimseq.inference.generator import TextOutput, open_generator
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import ConfidenceCalibration


@flat(COMMON)
@dataclass(frozen=True)
class CalibrationOptions:
    """What to calibrate on, and how."""

    datasets: Annotated[Sequence[str], Parameter(name="--data", show_default=", ".join)] = ("sample",)
    """Dev data: `sample` (bundled), wmt14-de-en, or a file. Repeatable. Best like what you serve."""
    samples: Annotated[int | None, POSITIVE] = None
    """Number of samples of each data set, from its start. By default all."""
    split: str = "validation"
    """Split of a hub data set."""
    runtime: str | None = None
    """Runtime: onnxruntime or ctranslate2. By default the first that can open the variant."""
    threads: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Number of threads of the runtime. 0 lets the runtime choose."""


def calibrate_variants(
    context: Context, task: Task, variants: Sequence[str], options: CalibrationOptions, is_recorded: bool = False
) -> dict[str, ConfidenceCalibration]:
    """Calibrates the confidence of variants on the same samples, with their default generation options.

    With `is_recorded` the calibrations are written into the manifests.

    Raises:
        UnknownVariant, CorruptArtifact, RuntimeUnavailable: a variant cannot be opened.
        DatasetUnavailable: the data cannot be read.
        CannotCalibrate: it is a summarizer, there are too few samples, or the outputs are all alike.
        InvalidArtifact: a manifest cannot be written.
    """
    if task is not Task.TRANSLATION:
        raise CannotCalibrate("translations have a confidence, summaries none: their log-probabilities say too little")
    parts = [
        load_examples(task, name, BUNDLED_SPLIT if name == BUNDLED else options.split, options.samples)
        for name in options.datasets
    ]
    examples = [example for part in parts for example in part.examples]
    found: dict[str, ConfidenceCalibration] = {}
    with context.progress() as progress:
        bar = progress.add_task(f"calibrate {task}", total=len(examples) * len(variants), status="")
        for name in variants:
            with open_generator(context.store, task, name, options.runtime, options.threads) as generator:
                defaults = generator.manifest.generation
                generate = generate_with(generator, defaults.options())
                outputs: dict[int, TextOutput] = {}
                for chunk in chunks(examples):
                    outputs |= zip(chunk, generate([examples[index] for index in chunk]), strict=True)
                    progress.advance(bar, len(chunk))
                ordered = [outputs[index] for index in range(len(examples))]
                try:
                    fitted = fit_confidence(
                        [output.mean_log_probability for output in ordered],
                        [output.text for output in ordered],
                        [example.target for example in examples],
                    )
                except CannotCalibrate as error:
                    raise CannotCalibrate(f"{task}/{name}: {error}") from None
                found[name] = ConfidenceCalibration(
                    **vars(fitted),
                    dataset=" + ".join(part.name for part in parts),
                    split=" + ".join(dict.fromkeys(part.split for part in parts)),
                    generation=defaults.model_dump() | {"max_input_tokens": generator.max_input_tokens},
                    runtime=generator.runtime.name,
                    cpu_flags=cpu_flags(),
                    measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
                )
                if is_recorded:
                    update = partial(Manifest.model_copy, update={"confidence": found[name]})
                    context.store.update_manifest(generator.manifest, update)
    return found
