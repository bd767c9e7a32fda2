"""Quantization-aware fine-tuning for `int4-weight-only`: trains with weights in 4-bit blocks.

Forward passes use fake-quantized weights; gradients pass the quantization unchanged (straight-through estimator, Bengio
et al. 2013, https://arxiv.org/abs/1308.3432; for weights: Jacob et al. 2018, https://arxiv.org/abs/1712.05877). The
quantization is that of ONNX Runtime's `MatMulNBits`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.models import load_model
from slimseq.compression.quantize.options import Blocks
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.compression.training.schedule import Bounds
from slimseq.compression.training.trainer import TrainingOptions, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BITS = 4
MAX_INTEGER = 2**BITS - 1
ZERO_POINT = 2 ** (BITS - 1)


def fine_tune(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Fine-tunes the source model and writes it, with its tokenizer, as a Hugging Face folder.

    Args:
        run: options, training data and, if there are dev files, dev data.
        folder: an existing folder.

    Returns:
        The report of the training.

    Raises:
        BadParameters: there are no training files.
        BadData: a file cannot be used.
        TrainingDiverged: the loss is not a finite number.
    """
    options = run.options
    model = load_model(run.source, run.context.device)
    dataset = run.train()
    dev = run.dev() if run.files is not None and run.files.dev else None
    run.report_status("fine-tuning with quantized weights")
    add_fake_quantization(model, Blocks(BITS, options.block_size, options.symmetric))
    # No dropout and no label smoothing: the model is trained already, and only adapts to its quantized weights.
    training = TrainingOptions(
        bounds=Bounds(max_steps=options.aware_steps),
        learning_rate=options.aware_learning_rate,
        label_smoothing=0.0,
        weight_decay=0.0,
        dropout=0.0,
    )
    report = train(model, dataset, training, run.context, dev=dev, describe="Fine-tuning with quantized weights")
    remove_fake_quantization(model)
    write_model(model, folder)
    copy_tokenizer(run.source, folder)
    return {name: value for name, value in asdict(report).items() if value is not None}


def add_fake_quantization(model: "PreTrainedModel", blocks: Blocks) -> None:
    """Adds fake quantization to every matrix that is quantized later, in place. Tied matrices share it."""
    seen: dict[int, FakeQuantization] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and _is_quantized(model, module):
            key = module.weight.data_ptr()
            seen.setdefault(key, FakeQuantization(blocks))
            parametrize.register_parametrization(module, "weight", seen[key])


def remove_fake_quantization(model: "PreTrainedModel") -> None:
    """Removes fake quantization, in place. The trained float weights stay."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    model.tie_weights()  # type: ignore[no-untyped-call]


class FakeQuantization(nn.Module):
    """Fake-quantizes a matrix `(outputs, inputs)` in blocks along its inputs; gradients pass unchanged."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self._blocks = blocks

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the fake-quantized matrix, of the same shape and dtype."""
        return weight + (fake_quantize(weight.detach(), self._blocks) - weight.detach())


def fake_quantize(weight: Tensor, blocks: Blocks) -> Tensor:
    """Quantizes to 4 bits as `MatMulNBits` does, and dequantizes.

    Symmetric: the value farthest from 0 becomes -8, and the zero point is 8. Asymmetric: the range from the lowest to
    the highest value, extended to include 0, becomes 0 to 15.

    Args:
        weight: `(outputs, inputs)`, float32.
        blocks: with 4 bits.

    Returns:
        The nearest representable values, `(outputs, inputs)`, float32.
    """
    outputs, inputs = weight.shape
    padded = nn.functional.pad(weight, (0, -inputs % blocks.size)).reshape(outputs, -1, blocks.size)
    low, high = padded.amin(dim=2, keepdim=True), padded.amax(dim=2, keepdim=True)
    if blocks.is_symmetric:
        farthest = torch.where(high.abs() > low.abs(), high, low)
        scale = farthest / -ZERO_POINT
        zero = torch.full_like(scale, ZERO_POINT)
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low) / MAX_INTEGER
        zero = torch.where(scale == 0, ZERO_POINT, -low / scale).round().clamp(0, MAX_INTEGER)
    steps = torch.where(scale == 0, 0, padded / scale)
    quantized: Tensor = ((steps + zero).round().clamp(0, MAX_INTEGER) - zero) * scale
    return quantized.reshape(outputs, -1)[:, :inputs]


def _is_quantized(model: "PreTrainedModel", module: nn.Linear | nn.Embedding) -> bool:
    """Whether a module's matrix is quantized: all linear layers, and the embedding of the vocabulary."""
    return isinstance(module, nn.Linear) or module.num_embeddings == model.config.vocab_size
