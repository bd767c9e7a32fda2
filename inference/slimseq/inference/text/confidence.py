"""The confidence of an output, as answers of the service and rows of `slimseq generate` have it."""

from slimseq.inference.generator import TextOutput
from slimseq.models_store.manifest import Manifest, Task


def confidence_of(output: TextOutput, manifest: Manifest) -> float | None:
    """Returns the confidence of a calibrated translation. None for all other outputs.

    The confidence of a summary hardly says anything (docs/decisions/027). The map from a mean log-probability to a
    confidence was fitted to outputs that ended by themselves.
    """
    calibration = manifest.confidence
    may_have_confidence = manifest.task is Task.TRANSLATION and output.finish_reason == "eos"
    if not may_have_confidence or calibration is None or output.mean_log_probability is None:
        return None
    return calibration.confidence(output.mean_log_probability)


def score_of(output: TextOutput) -> float | None:
    """Returns the mean log-probability of an output's tokens, rounded to the digits that do not depend on others."""
    if output.mean_log_probability is None:
        return None
    # With int8 models, digits after the third depend on the other rows of a batch.
    return round(output.mean_log_probability, 3)
