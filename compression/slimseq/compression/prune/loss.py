"""What a cut costs before any recovery: the loss on held-out pairs, in small batches."""

from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.prune.importance import CALIBRATION_TOKENS
from slimseq.compression.training.batches import one_pass
from slimseq.compression.training.data import TrainingSet
from slimseq.compression.training.forward import logits_of, pad_id_of
from slimseq.compression.training.losses import label_smoothed_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def one_shot_loss(model: "PreTrainedModel", pairs: TrainingSet, context: Context) -> float:
    """Returns the mean cross entropy over all target tokens, in nats, in the model's own precision.

    Unlike the training's `dev_loss` it runs many times over few pairs, so its batches are small enough for the logits
    of a large vocabulary to stay below the model's own size.

    Args:
        model: a T5 or BART on `context.device`; left in evaluation mode.
        pairs: all are run.
        context: the device.
    """
    model.train(False)
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in one_pass(pairs, CALIBRATION_TOKENS, pad_id_of(model)):
            on_device = batch.to(context.device)
            loss = label_smoothed_cross_entropy(logits_of(model, on_device), on_device.labels)
            targets = int((batch.labels >= 0).sum())
            total += float(loss) * targets
            count += targets
    return total / count
