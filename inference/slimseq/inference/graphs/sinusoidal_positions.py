"""Positions as sines and cosines, as Marian and PEGASUS lay them: all sines stand before all cosines.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
"""

import numpy as np

from slimseq.inference.models.weights import Floats


def sinusoidal_positions(positions: int, width: int) -> Floats:
    """Returns what is added to states at each position, `(positions, width)`, float32."""
    frequencies = np.arange(positions)[:, None] / 10000 ** (2 * (np.arange(width) // 2) / width)
    sentinel = width // 2 + width % 2
    table = np.empty((positions, width), dtype=np.float32)
    table[:, :sentinel] = np.sin(frequencies[:, 0::2])
    table[:, sentinel:] = np.cos(frequencies[:, 1::2])
    return table
