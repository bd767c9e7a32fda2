"""The loss of a model over a whole data set, without training."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from slimseq.compression.context import Context
from slimseq.compression.train.data.batches import one_pass
from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.forward import autocast, logits_of, pad_id_of
from slimseq.compression.train.loss.losses import label_smoothed_cross_entropy
from slimseq.compression.train.options import Precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEASURING_TOKENS = 4096


def dev_loss(model: "PreTrainedModel", dataset: TrainingSet, context: Context, precision: Precision = "auto") -> float:
    """Returns the mean cross entropy over all target tokens of a data set, in nats, without label smoothing."""
    with context.progress() as display:
        task = display.add_task("Measuring the loss on dev data", total=len(dataset), status="", unit="pairs")
        loss = mean_loss(
            model, dataset, context.device, MEASURING_TOKENS, precision, lambda rows: display.advance(task, rows)
        )
    return round(loss, 4)


def mean_loss(
    model: "PreTrainedModel",
    dataset: TrainingSet,
    device: str,
    batch_tokens: int,
    precision: Precision = "fp32",
    advance: Callable[[int], None] = lambda _: None,
) -> float:
    """Returns the mean cross entropy over all target tokens, in nats, not rounded.

    The model is left in evaluation mode. `batch_tokens` bounds the rows of a batch times its longest side; `advance`
    is called with the number of pairs of each batch.
    """
    model.train(False)
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in one_pass(dataset, batch_tokens, pad_id_of(model)):
            on_device = batch.to(device)
            with autocast(device, precision):
                loss = label_smoothed_cross_entropy(logits_of(model, on_device), on_device.labels)
            targets = int((batch.labels >= 0).sum())
            total += float(loss) * targets
            count += targets
            advance(batch.rows)
    return total / count
