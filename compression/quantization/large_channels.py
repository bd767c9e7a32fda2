"""Finds the channels of a product's inputs that are the largest of nearly every row, whatever the text.

Where the same few channels dwarf all others, one scale a row is too coarse for the others. They do not depend on what
is read: random ids show the same ones as texts, so that no data is needed.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compression.quantization.sensitivity import open_session
from models_store.configuration import ModelConfiguration
from models_store.graphs.names import ENCODER

SEED = 0
TEXTS = 8
TOKENS = 64
# A channel is large where it is mostly so many times the size of a row's mean.
TIMES_THE_MEAN = 6.0
# More would cost more than blocks do.
MOST_CHANNELS = 16


def large_channels(
    exported: Path, products: Collection[str], configuration: ModelConfiguration
) -> dict[str, list[int]]:
    """Runs a model's encoder on random ids.

    Args:
        exported: the folder of the fp32 graphs.
        products: names of products in the encoder's graph.
        configuration: the model's.

    Returns:
        Channels, ascending, by the name of the products' inputs; inputs without any are left out.
    """
    if not products:
        return {}
    tokens = min(TOKENS, configuration.max_positions or TOKENS)
    ids = np.random.default_rng(SEED).integers(0, configuration.vocabulary, (TEXTS, tokens))
    found = {name: _large(states) for name, states in _inputs_of(exported, products, ids).items()}
    return {name: channels for name, channels in found.items() if channels}


def _inputs_of(exported: Path, products: Collection[str], ids: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
    """Returns the products' inputs, `(texts, tokens, channels)`, by name."""
    model = onnx.load(exported / ENCODER, load_external_data=False)
    names = sorted({node.input[0] for node in model.graph.node if node.name in products})
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    # Beside the weights, which it reads from their file.
    path = exported / f"inputs.{ENCODER}"
    onnx.save(model, str(path))
    try:
        session = open_session(path)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return dict(zip(names, session.run(names, feeds), strict=True))
    finally:
        path.unlink()


def _large(states: NDArray[np.float32]) -> list[int]:
    rows = np.abs(states).reshape(-1, states.shape[-1])
    times = np.median(rows / np.maximum(rows.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny), axis=0)
    largest = np.argsort(-times, kind="stable")[:MOST_CHANNELS]
    return sorted(int(channel) for channel in largest if times[channel] > TIMES_THE_MEAN)
