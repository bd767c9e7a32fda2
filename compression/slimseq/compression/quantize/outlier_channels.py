"""Finds the channels of a product's inputs that are the largest of nearly every row, whatever the text.

Where the same few channels dwarf all others, one scale a row is too coarse for the others. They do not depend on what
is read: random ids show the same ones as texts, so that no data is needed.
"""

from collections.abc import Collection

import numpy as np

from slimseq.compression.quantize.embedding import Floats
from slimseq.compression.quantize.random_inputs import Reading

# A channel is large where it is mostly so many times the size of a row's mean.
TIMES_THE_MEAN = 6.0
# More would cost more than they are worth.
MOST_CHANNELS = 16


def large_channels(reading: Reading, products: Collection[str]) -> dict[str, list[int]]:
    """Runs a model.

    Args:
        reading: one of its graphs, and random ids.
        products: names of products in it.

    Returns:
        Channels, ascending, by the name of the products' inputs; inputs without any are left out.
    """
    found = {name: _large(states) for name, states in reading.inputs_of(products).items()}
    return {name: channels for name, channels in found.items() if channels}


def _large(states: Floats) -> list[int]:
    rows = np.abs(states).reshape(-1, states.shape[-1])
    times = np.median(rows / np.maximum(rows.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny), axis=0)
    largest = np.argsort(-times, kind="stable")[:MOST_CHANNELS]
    return sorted(int(channel) for channel in largest if times[channel] > TIMES_THE_MEAN)
