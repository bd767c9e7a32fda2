"""Fine-tunes a model with its weights rounded to 4-bit blocks, so that rounding them afterwards costs less.

Forward passes see rounded weights, gradients pass the rounding as if it were not there (the straight-through estimator,
Bengio et al. 2013, https://arxiv.org/abs/1308.3432; for weights of networks, Jacob et al. 2018,
https://arxiv.org/abs/1712.05877). Rounding is that of ONNX Runtime's `MatMulNBits`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from slimseq.compression.models import load_model
from slimseq.compression.publish import copy_tokenizer, write_model
from slimseq.compression.quantize.block_embedding import Blocks
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.training.schedule import Bounds
from slimseq.compression.training.trainer import TrainingOptions, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BITS = 4
LARGEST = 2**BITS - 1
MIDDLE = 2 ** (BITS - 1)


def write_aware(work: Work, folder: Path) -> dict[str, Any]:
    """Fine-tunes the source and writes it, with its tokenizer, as a Hugging Face folder.

    Args:
        work: gives options, training data and, where dev files are named, dev data.
        folder: an existing folder.

    Returns:
        The training's report.

    Raises:
        BadParameters: no training files are named.
        BadData: a file cannot be used.
        TrainingDiverged: the loss stopped being a number.
    """
    options = work.options
    model = load_model(work.source, work.context.device)
    dataset = work.train()
    dev = work.dev() if work.files is not None and work.files.dev else None
    work.say("fine-tuning with rounded weights")
    make_aware(model, Blocks(BITS, options.block_size, options.symmetric))
    # No dropout and no smoothing: the model is trained already, and only has to follow its rounded weights.
    training = TrainingOptions(
        bounds=Bounds(max_steps=options.aware_steps),
        learning_rate=options.aware_learning_rate,
        label_smoothing=0.0,
        weight_decay=0.0,
        dropout=0.0,
    )
    report = train(model, dataset, training, work.context, dev=dev, describe="Fine-tuning with rounded weights")
    make_plain(model)
    write_model(model, folder)
    copy_tokenizer(work.source, folder)
    return {name: value for name, value in asdict(report).items() if value is not None}


def make_aware(model: "PreTrainedModel", blocks: Blocks) -> None:
    """Makes every matrix that quantization rounds look rounded, in place; embeddings that are tied to one included."""
    seen: dict[int, QuantizedBlocks] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and _is_rounded(model, module):
            key = module.weight.data_ptr()
            seen.setdefault(key, QuantizedBlocks(blocks))
            parametrize.register_parametrization(module, "weight", seen[key])


def make_plain(model: "PreTrainedModel") -> None:
    """Takes the rounding off again, in place; what was learned stays, unrounded."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    model.tie_weights()  # type: ignore[no-untyped-call]


class QuantizedBlocks(nn.Module):
    """Rounds a matrix `(outputs, inputs)` in blocks along its inputs, and hands gradients through unchanged."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self._blocks = blocks

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the rounded matrix, of the same shape and dtype."""
        return weight + (round_blocks(weight.detach(), self._blocks) - weight.detach())


def round_blocks(weight: Tensor, blocks: Blocks) -> Tensor:
    """Rounds to 4 bits as `MatMulNBits` weights are, and back.

    Symmetric: the value farthest from 0 becomes -8 scales, and zero points are 8. Otherwise the range from the lowest
    to the highest value, with 0 in it, becomes 0 to 15.

    Args:
        weight: `(outputs, inputs)`, float32.
        blocks: 4 bits.

    Returns:
        The nearest representable values, `(outputs, inputs)`, float32.
    """
    outputs, inputs = weight.shape
    padded = nn.functional.pad(weight, (0, -inputs % blocks.size)).reshape(outputs, -1, blocks.size)
    low, high = padded.amin(dim=2, keepdim=True), padded.amax(dim=2, keepdim=True)
    if blocks.is_symmetric:
        farthest = torch.where(high.abs() > low.abs(), high, low)
        scale = farthest / -MIDDLE
        zero = torch.full_like(scale, MIDDLE)
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low) / LARGEST
        zero = torch.where(scale == 0, MIDDLE, -low / scale).round().clamp(0, LARGEST)
    steps = torch.where(scale == 0, 0, padded / scale)
    quantized: Tensor = ((steps + zero).round().clamp(0, LARGEST) - zero) * scale
    return quantized.reshape(outputs, -1)[:, :inputs]


def _is_rounded(model: "PreTrainedModel", module: nn.Linear | nn.Embedding) -> bool:
    """Whether quantization rounds a module's matrix: every linear one, and embeddings of the vocabulary."""
    return isinstance(module, nn.Linear) or module.num_embeddings == model.config.vocab_size
