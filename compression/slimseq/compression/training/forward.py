"""One forward pass with teacher forcing, and the loss over a held-out data set."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.training.data.batches import IGNORED_LABEL, Batch, one_pass
from slimseq.compression.training.data.pairs import TrainingSet
from slimseq.compression.training.loss.losses import label_smoothed_cross_entropy
from slimseq.compression.training.options import Precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEASURING_TOKENS = 4096


def dev_loss(model: "PreTrainedModel", dataset: TrainingSet, context: Context, precision: Precision = "bf16") -> float:
    """Returns the mean cross entropy over all target tokens of a data set, in nats, without label smoothing.

    Args:
        model: a T5 or BART on `context.device`; left in evaluation mode.
        dataset: every pair of it is measured.
        context: the device, and progress.
        precision: of the forward pass.
    """
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

    Args:
        model: of any family on `device`; left in evaluation mode.
        dataset: every pair of it is measured.
        device: of the model.
        batch_tokens: maximum size of a batch: its rows times its longest side.
        precision: of the forward pass.
        advance: notified of the number of pairs of each batch.
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


def pad_id_of(model: "PreTrainedModel") -> int:
    """Returns the id that pads a model's inputs.

    Raises:
        BadParameters: its configuration names none.
    """
    pad_id = model.config.pad_token_id
    if pad_id is None:
        raise BadParameters("the model's configuration names no pad_token_id")
    return int(pad_id)


def logits_of(model: "PreTrainedModel", batch: Batch) -> torch.Tensor:
    """Runs a model with teacher forcing and returns its logits, `(rows, target_length, vocabulary)`.

    The decoder's input is the labels shifted right.
    """
    return output_of(model, batch).logits  # type: ignore[no-any-return]


def decoder_inputs(model: "PreTrainedModel", labels: torch.Tensor) -> torch.Tensor:
    """Returns what a decoder reads to write labels: its start token, then the labels but for the last.

    As `prepare_decoder_input_ids_from_labels` of transformers, which not all of its models have.

    Args:
        model: its configuration names the start token and the padding.
        labels: `(rows, target_length)`, int64, `IGNORED_LABEL` where a row has ended.
    """
    shifted = labels.roll(1, dims=1)
    shifted[:, 0] = model.config.decoder_start_token_id
    return shifted.masked_fill_(shifted == IGNORED_LABEL, pad_id_of(model))


def output_of(model: "PreTrainedModel", batch: Batch, hidden_states: bool = False, attentions: bool = False) -> Any:
    """Runs a model with teacher forcing.

    Args:
        model: a T5 or BART; with eager attention where `attentions` are wanted.
        batch: on the model's device.
        hidden_states: whether to return those of all layers.
        attentions: whether to return the attention weights of all layers.

    Returns:
        A `transformers` `Seq2SeqLMOutput`. `logits` is `(rows, target_length, vocabulary)`; `encoder_hidden_states` and
        `decoder_hidden_states` hold the embeddings and then each layer's output, `(rows, length, width)`;
        `encoder_attentions`, `decoder_attentions` and `cross_attentions` hold each layer's weights, `(rows, heads,
        queries, keys)`.
    """
    return model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        decoder_input_ids=decoder_inputs(model, batch.labels),
        use_cache=False,
        output_hidden_states=hidden_states,
        output_attentions=attentions,
    )


def autocast(device: str, precision: Precision) -> AbstractContextManager[object]:
    """Returns the context that a forward pass runs in: bf16 autocast, or nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)
