"""Scales of inputs that can be known beforehand: of what a norm bounds, and of what attention averages.

They do not depend on the text, nor on what a row is batched with, and finding them takes no data: random ids show how
large each channel gets. Channels that get larger than most are divided by a power of two, and their weights multiplied
by it, so that they do not coarsen the others (SmoothQuant, Xiao et al. 2022, https://arxiv.org/abs/2211.10438, whose
factors are not powers and take from all channels).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from slimseq.compression.quantize.embedding import LARGEST, Floats
from slimseq.compression.quantize.groups import inputs_of, is_output_projection
from slimseq.compression.quantize.random_inputs import Reading

# How much larger values may be on texts than on random ids. Attention on random ids is spread over more positions, and
# averages come out smaller.
NORM_MARGIN = 1.1
CONTEXT_MARGIN = 2.0
QUERY_MARGIN = 1.5
# What graphs of ours round queries by.
ROUNDED_QUERIES = "DynamicQuantizeLinear"
# Of how many times larger a channel gets than most, this power is what it is divided by.
SMOOTHED_POWER = 0.75
# Steps come in so many sizes an octave, so that CPUs whose last bits differ find the same one.
STEPS_AN_OCTAVE = 8


@dataclass(frozen=True)
class StaticScale:
    """How one input is rounded: divided by `factors`, `(channels,)`, float32, and then by `step`."""

    step: float
    factors: Floats


def fixed_scales(reading: Reading, products: Collection[str]) -> dict[str, StaticScale]:
    """Runs a model.

    Args:
        reading: one of its graphs, and random ids.
        products: names of products in it.

    Returns:
        Scales by the name of the products' inputs; those that nothing bounds are left out.
    """
    read = inputs_of(reading.path, products)
    margins = {name: margin for name, margin in _margins(reading.path).items() if name in read}
    # Its matrix is the embedding, of which one copy is kept.
    projected = inputs_of(reading.path, [name for name in products if is_output_projection(name)])
    return {
        name: even_scale_of(states, margins[name]) if name in projected else scale_of(states, margins[name])
        for name, states in reading.values(margins).items()
    }


def fixed_queries(reading: Reading) -> dict[str, float]:
    """Runs a model; returns steps of queries that are multiplied as integers, by the rounding's name."""
    nodes = onnx.load(reading.path, load_external_data=False).graph.node
    queries = {node.name: node.input[0] for node in nodes if node.op_type == ROUNDED_QUERIES}
    values = reading.values(queries.values())
    return {name: step_of(float(np.abs(values[read]).max()) * QUERY_MARGIN) for name, read in queries.items()}


def scale_of(states: Floats, margin: float) -> StaticScale:
    """Returns a scale for values, `(..., channels)`, and for others that are so many times as large at most."""
    largest = np.abs(states.reshape(-1, states.shape[-1])).max(axis=0)
    typical = max(float(np.median(largest)), np.finfo(np.float32).tiny)
    octaves = np.log2(np.maximum(largest / typical, 1))
    factors = np.exp2(np.rint(SMOOTHED_POWER * octaves)).astype(np.float32)
    return StaticScale(step_of(float((largest / factors).max()) * margin), factors)


def even_scale_of(states: Floats, margin: float) -> StaticScale:
    """Returns the same with no channel divided."""
    return StaticScale(step_of(float(np.abs(states).max()) * margin), np.ones(states.shape[-1], dtype=np.float32))


def step_of(largest: float) -> float:
    """Returns the step of integers that reach so far."""
    smallest = max(largest / LARGEST, float(np.finfo(np.float32).tiny))
    return float(np.float32(2 ** (np.ceil(np.log2(smallest) * STEPS_AN_OCTAVE) / STEPS_AN_OCTAVE)))


def _margins(path: Path) -> dict[str, float]:
    """Returns the margins of a graph's norms' outputs and of its contexts, by name."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    found = {}
    for node in graph.node:
        # A root mean square norm ends with its weights, and the last one of some T5 with one factor more.
        is_norm = node.op_type == "Mul" and node.input[1] in constants
        if node.op_type == "LayerNormalization" or is_norm:
            found[node.output[0]] = NORM_MARGIN
        elif node.op_type == "Reshape":
            found[node.output[0]] = CONTEXT_MARGIN
    return found
