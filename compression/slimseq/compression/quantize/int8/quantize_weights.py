"""Quantizes weights to int8, symmetrically: a matrix of float32 becomes integers and scales.

An embedding has one scale a row (token), a matrix product one scale a column (output channel). `embedding` and
`integer_matmuls` rewrite the graphs.
"""

import numpy as np
from numpy.typing import NDArray

# Suffixes of the two tensors that replace a float tensor: the integers and their scales.
QUANTIZED_SUFFIX = "_quantized"
SCALE_SUFFIX = "_scale"
INT8_MAX = 127
# 7 bits: the sum of two products with 8-bit inputs fits in 16 bits, which CPUs without VNNI use.
INT8_REDUCED_MAX = 64

Int8 = NDArray[np.int8]
Floats = NDArray[np.float32]


def quantize_rows(floats: Floats) -> tuple[Int8, Floats]:
    """Quantizes each row of a float32 matrix to int8, symmetrically. A matrix of a published step keeps its integers.

    Returns:
        Integers `(rows, width)`, int8, and scales `(rows, 1)`, float32; their product approximates `floats`.
    """
    largest = np.maximum(floats.max(axis=1, keepdims=True), -floats.min(axis=1, keepdims=True))
    step = published_step(floats, INT8_MAX)
    scales = largest / INT8_MAX if step is None else np.full_like(largest, step)
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    scaled = floats / scales
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int8), scales


def quantize_columns(weights: Floats, reduce_range: bool) -> tuple[Int8, Floats]:
    """Quantizes a matrix `(inputs, outputs)`, float32, symmetrically, with one scale for each output channel.

    Weights that were published in 8 bits keep their integers. With a reduced range integers have 7 bits.

    Returns:
        Integers `(inputs, outputs)`, int8, and scales `(outputs,)`, float32.
    """
    largest = np.maximum(weights.max(axis=0), -weights.min(axis=0))
    max_integer = INT8_REDUCED_MAX if reduce_range else INT8_MAX
    step = published_step(weights, max_integer)
    scales = largest.astype(np.float64) / max_integer if step is None else np.full_like(largest, step)
    scales = np.where(scales < np.finfo(np.float32).tiny, 1, scales).astype(np.float32)
    scaled = weights / scales
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int8), scales


def published_step(weights: Floats, max_integer: int) -> float | None:
    """Returns the step of weights that were published in 8 bits: all weights are integer multiples of one step.

    Returns None for other weights, and for weights with an integer above `max_integer`.
    """
    magnitudes = np.abs(weights[weights != 0])
    if not magnitudes.size:
        return None
    # Some weight has the integer 1, as a matrix has thousands of weights.
    step = magnitudes.min()
    if magnitudes.max() > (max_integer + 0.5) * step:
        return None
    integers = np.rint(magnitudes / step)
    return float(step) if np.allclose(integers * step, magnitudes, rtol=1e-5, atol=0) else None
