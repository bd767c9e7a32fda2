"""How much each part of a model matters. Pruning ranks by what stands here; criteria are in `pruning/criteria/`."""

from typing import TYPE_CHECKING, get_args

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.criteria.chance import chance
from slimseq.compression.prune.criteria.magnitude import magnitude
from slimseq.compression.prune.criteria.protocol import CALIBRATION_TOKENS, Criterion, Importance
from slimseq.compression.prune.criteria.taylor import taylor
from slimseq.compression.prune.criteria.wanda import wanda
from slimseq.compression.prune.options import CriterionName
from slimseq.compression.training.data import TrainingSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CALIBRATION_TOKENS", "CriterionName", "Importance", "measure_importance"]

CRITERIA: dict[str, Criterion] = {"wanda": wanda, "magnitude": magnitude, "taylor": taylor, "random": chance}


def measure_importance(
    model: "PreTrainedModel", calibration: TrainingSet, context: Context, criterion: CriterionName = "wanda"
) -> Importance:
    """Scores the parts of a model. Nothing of it is changed.

    Args:
        model: a T5 or BART on any device; comes back on `context.device`, in evaluation mode.
        calibration: a few hundred pairs; all are run. Padding is left out.
        context: seed, device and progress.
        criterion: what makes a part important; each is described where it is defined.

    Returns:
        The scores.

    Raises:
        BadParameters: there is no such criterion.
    """
    if criterion not in CRITERIA:
        raise BadParameters(f"there is no criterion {criterion!r}; there are {', '.join(get_args(CriterionName))}")
    model.to(context.device)  # type: ignore[arg-type]
    model.train(False)
    return CRITERIA[criterion](model, calibration, context)
