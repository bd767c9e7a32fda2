"""Finds the channels of a product's inputs that are the largest of nearly every row, whatever the text.

Where the same few channels dwarf all others, one scale a row is too coarse for the others. They do not depend on what
is read: random ids show the same ones as texts, so that no data is needed.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compression.quantization.forced import Batch, cross_feeds, encoder_feeds, whole_steps
from compression.quantization.sensitivity import open_session
from models_store.configuration import ModelConfiguration
from models_store.graphs.names import ENCODER

SEED = 0
TEXTS = 8
TOKENS = 64
# A channel is large where it is mostly so many times the size of a row's mean.
TIMES_THE_MEAN = 6.0
# More would cost more than they are worth.
MOST_CHANNELS = 16


def large_channels(
    exported: Path, graph: str, products: Collection[str], configuration: ModelConfiguration
) -> dict[str, list[int]]:
    """Runs a model on random ids.

    Args:
        exported: the folder of the fp32 graphs.
        graph: the name of one of them.
        products: names of products in it.
        configuration: the model's.

    Returns:
        Channels, ascending, by the name of the products' inputs; inputs without any are left out.
    """
    if not products:
        return {}
    found = {name: _large(states) for name, states in _inputs_of(exported, graph, products, configuration).items()}
    return {name: channels for name, channels in found.items() if channels}


def _inputs_of(
    exported: Path, graph: str, products: Collection[str], configuration: ModelConfiguration
) -> dict[str, NDArray[np.float32]]:
    """Returns the products' inputs, `(..., channels)`, by name."""
    model = onnx.load(exported / graph, load_external_data=False)
    names = sorted({node.input[0] for node in model.graph.node if node.name in products})
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    # Beside the weights, which it reads from their file.
    path = exported / f"inputs.{graph}"
    onnx.save(model, str(path))
    batch = _random_batch(configuration)
    try:
        session = open_session(path)
        if graph == ENCODER:
            return dict(zip(names, session.run(names, encoder_feeds(batch)), strict=True))
        cross = cross_feeds(open_session(exported / ENCODER), batch)
        runs = [outputs for _, outputs in whole_steps(session, batch, cross)]
        return {name: np.stack([outputs[name] for outputs in runs]) for name in names}
    finally:
        path.unlink()


def _random_batch(configuration: ModelConfiguration) -> Batch:
    tokens = min(TOKENS, configuration.max_positions or TOKENS)
    random = np.random.default_rng(SEED)
    sources, targets = (random.integers(0, configuration.vocabulary, (TEXTS, tokens)) for _ in range(2))
    targets[:, 0] = configuration.decoder_start_id
    everywhere = np.ones_like(sources)
    return Batch(sources, everywhere, targets, everywhere.astype(np.bool_))


def _large(states: NDArray[np.float32]) -> list[int]:
    rows = np.abs(states).reshape(-1, states.shape[-1])
    times = np.median(rows / np.maximum(rows.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny), axis=0)
    largest = np.argsort(-times, kind="stable")[:MOST_CHANNELS]
    return sorted(int(channel) for channel in largest if times[channel] > TIMES_THE_MEAN)
