"""The scheme `int4-blocks`: at most 4 bits a weight in the file, and the arithmetic of `int8-dynamic`.

A weight is one of 16 levels times an integer factor of its block of 32 inputs, times the scale of its output channel.
The product of the integers fits in int8 (QServe, Lin et al. 2024, https://arxiv.org/abs/2405.04532), so that the
runtime computes as with `int8-dynamic`, and outputs are batch-invariant too. `packing` stores the integers.

GPTQ chooses the levels (Frantar et al. 2022, https://arxiv.org/abs/2210.17323): input channels are quantized one after
the other, and the later ones compensate the errors of the earlier ones. A tied embedding and output projection has 9
levels and blocks of 16, except for the most frequent tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.constant_matmuls import matmuls_of
from slimseq.compression.quantize.int8.activations import GraphInputs
from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights
from slimseq.compression.quantize.int8.quantize_weights import Floats, Int8
from slimseq.compression.quantize.packing import FOUR_BITS, NINE_LEVELS, Levels, frequent_tokens, pack
from slimseq.compression.quantize.quantize_options import QuantizationRun
from slimseq.compression.quantize.schemes import int8_dynamic
from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch
from slimseq.inference.decoding.search import Ids
from slimseq.inference.engine.graph_runs import pad
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER, LM_HEAD_MATMUL
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer

Moments = NDArray[np.float64]
# Calibration pairs, and whether a row has a target at a step, `(rows, steps)`.
Calibration = list[tuple[TeacherForcedBatch, Ids]]
# Calibration pairs in a batch.
ROWS = 32
# Maximum number of target tokens of a calibration pair: enough for the inputs of attention to vary.
MAX_STEPS = 48
# The levels of the most frequent tokens of an embedding.
FREQUENT_LEVELS = replace(FOUR_BITS, damping=NINE_LEVELS.damping)
# The factors that are tried for a block, as shares of the factor that reaches the block's largest weight.
SHARES = (0.65, 0.75, 0.85, 1.0, 1.1)


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes `onnx/`; returns the number of calibration pairs and the patterns of the sensitive layers."""
    data, reduce_range = read_calibration(run), run.options.reduce_range
    found = int8_dynamic.write(run, folder, lambda exported: BlockWeights(reduce_range, calibrate(exported, data)))
    pack(folder / "onnx")
    return {**found, "calibration_pairs": sum(len(batch.sources) for batch, _ in data)}


def read_calibration(run: QuantizationRun) -> Calibration:
    """Reads calibration pairs, or else training pairs, as batches of similar target lengths."""
    from slimseq.compression.train.data.training_data import TrainingSet, limits_of, read_examples

    files, samples, generation = run.files, run.options.calibration_samples, run.parent.generation
    names = (files.calibration or files.train) if files is not None else ()
    if not names or samples < 1:
        raise BadParameters("int4-blocks needs calibration or train data here; name a file and at least 1 sample of it")
    configuration = read_configuration(run.source)
    examples = read_examples(run.parent.task, names, samples)[:samples]
    limits = limits_of(generation, configuration.max_positions)
    dataset = TrainingSet(examples, Tokenizer(run.source), generation.prefix, limits)
    pairs = sorted((dataset[index] for index in range(len(dataset))), key=lambda pair: len(pair.target))
    data = []
    for start in range(0, len(pairs), ROWS):
        rows = pairs[start : start + ROWS]
        shifted = [[configuration.decoder_start_id, *pair.target[:-1]] for pair in rows]
        tokens, is_target = pad([decoder_inputs[:MAX_STEPS] for decoder_inputs in shifted], configuration.pad_id)
        sources = pad([pair.source for pair in rows], configuration.pad_id)
        data.append((TeacherForcedBatch(*sources, tokens), is_target))
    return data


def calibrate(exported: Path, data: Calibration) -> dict[str, tuple[Levels, Moments]]:
    """Returns the levels of each matrix, by name, and the second moments of its inputs, `(inputs, inputs)`."""
    found: dict[str, tuple[Levels, Moments]] = {}
    for graph, (batch, is_target) in product((ENCODER, DECODER), data):
        nodes = {node.name: node for node in onnx.load(exported / graph, load_external_data=False).graph.node}
        matmuls, mask = matmuls_of(exported / graph), batch.mask if graph == ENCODER else is_target.T
        moments = {}
        for name, states in GraphInputs(exported, graph, batch).inputs_of(matmuls).items():
            rows = states.reshape(*mask.shape, -1)[mask > 0].astype(np.float64)
            moments[name] = rows.T @ rows
        for name in matmuls:
            states, matrix = nodes[name].input
            before = found[matrix][1] if matrix in found else 0
            found[matrix] = NINE_LEVELS if name == LM_HEAD_MATMUL else FOUR_BITS, before + moments[states]
    return found


@dataclass(frozen=True)
class BlockWeights(Int8Weights):
    """Quantizes weights to levels times factors of blocks.

    Args:
        calibrated: the levels and the second moments of the inputs of matrices, by name.
    """

    calibrated: Mapping[str, tuple[Levels, Moments]] = field(default_factory=dict)

    def quantize(self, matrix: str, weights: Floats, factors: Floats | None = None) -> tuple[Int8, Floats]:
        """Quantizes a matrix, as `Int8Weights.quantize` says."""
        levels, moments = self.calibrated[matrix]
        if factors is not None:
            moments = moments / np.outer(factors, factors)
        rows = np.ascontiguousarray(weights.T)
        parts, levels_of_parts = [rows], [levels]
        if levels is NINE_LEVELS:
            # The rows of an output projection are tokens.
            parts, levels_of_parts = np.split(rows, [frequent_tokens(len(rows))]), [FREQUENT_LEVELS, levels]
        found = [quantize_blocks(part, each, moments) for part, each in zip(parts, levels_of_parts, strict=True)]
        integers, scales = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return np.ascontiguousarray(integers.T), scales


def quantize_blocks(weights: Floats, levels: Levels, moments: Moments) -> tuple[Int8, Floats]:
    """Quantizes each output channel to levels times the factors of its blocks.

    Args:
        weights: `(outputs, inputs)`, float32.
        levels: which integers there are.
        moments: second moments of the inputs, `(inputs, inputs)`; a diagonal matrix gives the nearest levels.

    Returns:
        Integers `(outputs, inputs)`, int8, and scales `(outputs,)`, float32; their product approximates `weights`.
    """
    blocks = levels.blocks(weights)
    highest, lowest = blocks.max(axis=2, keepdims=True), blocks.min(axis=2, keepdims=True)
    # The step of a block that would give its largest weight the lowest level, which is the largest in absolute value.
    block_steps = np.maximum(highest, -lowest) / -levels.lowest
    # If the largest weight is positive, a negative factor gives it the lowest level.
    signs = np.where((highest > -lowest) & (levels.lowest_factor < 0), -1, 1).astype(np.float32)
    scales = block_steps.max(axis=1, keepdims=True) / levels.max_factor
    scales[scales == 0] = 1
    # The error of a weight counts as much as its input is large.
    importance = levels.blocks(moments.diagonal()[None].astype(np.float32))
    factors, errors = np.ones_like(block_steps), np.full_like(block_steps, np.inf)
    for share in SHARES:
        tried = np.rint(block_steps / scales * share).clip(1, levels.max_factor) * signs
        steps = tried * scales
        error = (np.square(levels.nearest(blocks / steps) * steps - blocks) * importance).sum(axis=2, keepdims=True)
        factors, errors = np.where(error < errors, tried, factors), np.minimum(error, errors)
    weight_factors = np.broadcast_to(factors, blocks.shape).reshape(weights.shape)
    chosen = _gptq_levels(weights, moments, weight_factors * scales[:, 0], levels)
    return (chosen * weight_factors).astype(np.int8), scales.ravel()


def _gptq_levels(weights: Floats, moments: Moments, steps: Floats, levels: Levels) -> Floats:
    """Returns the levels that GPTQ chooses, `(outputs, inputs)`. Inputs with the largest moments come first.

    `steps` has the step of each weight: its factor times its scale.
    """
    # Inputs whose weights are all 0 have no errors to compensate.
    is_read = weights.any(axis=0)
    moments = np.where(np.outer(is_read, is_read), moments, 0)
    damping = max(levels.damping * moments.diagonal().mean(), np.finfo(np.float32).tiny)
    moments = moments + np.eye(len(moments)) * damping
    order = np.argsort(-moments.diagonal(), kind="stable")
    # The upper triangular factor of the inverse says how much the errors of earlier inputs change later ones.
    upper = np.linalg.cholesky(np.linalg.inv(moments[order][:, order])).T.astype(np.float32)
    chosen, errors = np.empty_like(weights.T), np.empty_like(weights.T)
    for index, column in enumerate(order):
        target = weights[:, column] - upper[:index, index] @ errors[:index]
        chosen[column] = levels.nearest(target / steps[:, column])
        errors[index] = (target - chosen[column] * steps[:, column]) / upper[index, index]
    return chosen.T
