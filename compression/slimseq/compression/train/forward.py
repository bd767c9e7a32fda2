"""One forward pass with teacher forcing: its inputs, precision and dropout."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.batches import IGNORED_LABEL, Batch
from slimseq.compression.train.training_options import Precision
from slimseq.evaluation.host import cpu_flags

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Flags of x86-64 and ARM. Without these instructions bf16 on a CPU is slower than fp32: 128 times for a matrix product
# of 1024 x 512 and 512 x 2048 on a CPU with AVX2 only.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def pad_id_of(model: "PreTrainedModel") -> int:
    """Returns the id that pads a model's inputs, or raises BadParameters if its configuration names none."""
    pad_id = model.config.pad_token_id
    if pad_id is None:
        raise BadParameters("the model's configuration names no pad_token_id")
    return int(pad_id)


def encoded_by(model: "PreTrainedModel", batch: Batch) -> Any:
    """Returns what a model's encoder makes of a batch, for `logits_of`."""
    return model.get_encoder()(input_ids=batch.input_ids, attention_mask=batch.attention_mask)


def logits_of(model: "PreTrainedModel", batch: Batch, encoded: Any = None) -> torch.Tensor:
    """Runs a model with teacher forcing and returns its logits, `(rows, target_length, vocabulary)`.

    The decoder's input is the labels shifted right. With the outputs of the encoder, only the decoder runs.
    """
    output = model(
        input_ids=batch.input_ids if encoded is None else None,
        encoder_outputs=encoded,
        attention_mask=batch.attention_mask,
        decoder_input_ids=decoder_inputs(model, batch.labels),
        use_cache=False,
    )
    return output.logits  # type: ignore[no-any-return]


def decoder_inputs(model: "PreTrainedModel", labels: torch.Tensor) -> torch.Tensor:
    """Returns the decoder's inputs for teacher forcing: its start token, then all labels but the last.

    Equals `prepare_decoder_input_ids_from_labels` of transformers, which not all of its models have.
    """
    shifted = labels.roll(1, dims=1)
    shifted[:, 0] = model.config.decoder_start_token_id
    return shifted.masked_fill_(shifted == IGNORED_LABEL, pad_id_of(model))


def precision_on(device: str, precision: Precision) -> Literal["bf16", "fp32"]:
    """Returns the precision of a forward pass: for `auto`, bf16 where the device has instructions for it."""
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if not BF16_FLAGS.isdisjoint(cpu_flags()) else "fp32"


def autocast(device: str, precision: Precision) -> AbstractContextManager[object]:
    """Returns the context that a forward pass runs in: bf16 autocast, or nothing for fp32."""
    if precision_on(device, precision) == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


@contextmanager
def dropout_rate(model: torch.nn.Module, rate: float | None) -> Iterator[None]:
    """Sets the dropout rate of hidden states for the block. None keeps the model's own rates.

    The rates of attention weights and activations are lowered to `rate` and never raised. Modules hold a rate as
    `nn.Dropout` or as a number.
    """
    if rate is None:
        yield
        return
    before: list[tuple[torch.nn.Module, str, float]] = []
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            before.append((module, "p", module.p))
            module.p = rate
            continue
        # The layers of BART, and the attention modules of all families, hold rates as numbers. An attention module is
        # known by its key projection.
        is_attention = hasattr(module, "k_proj") or hasattr(module, "k")
        for name in ("dropout", "activation_dropout", "attention_dropout"):
            value = getattr(module, name, None)
            if isinstance(value, int | float):
                before.append((module, name, value))
                holds_hidden_states = name == "dropout" and not is_attention
                setattr(module, name, rate if holds_hidden_states else min(value, rate))
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
