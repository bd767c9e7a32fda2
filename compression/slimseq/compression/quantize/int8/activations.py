"""Measures activations on random ids: static scales and outlier channels, without data.

Values after a norm, averages of attention and queries have about the same range for every text. Outlier channels are
the same for every text. Therefore a few random texts suffice, and static scales make outputs independent of the batch.
Half of the texts have uniform ids. In the other half, small ids are more probable: in most vocabularies they are the
frequent tokens. Special tokens are where the tokenizer puts them, since their activations are often much larger.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from slimseq.compression.quantize.constant_matmuls import inputs_of
from slimseq.compression.quantize.int8.quantize_weights import INT8_MAX, Floats, published_step
from slimseq.compression.quantize.teacher_forcing import (
    TeacherForcedBatch,
    cross_feeds,
    encoder_feeds,
    open_session,
    steps,
)
from slimseq.inference.decoding.search import Ids
from slimseq.inference.graphs.external import array_of
from slimseq.inference.graphs.tensor_names import ENCODER, LM_HEAD_MATMUL
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer

SEED = 0
# Number of random texts, and of tokens in each.
TEXTS = 8
TOKENS = 64
# Special tokens around a text are looked for among so many tokens of an almost empty text.
MAX_SPECIAL_TOKENS = 16
# Factors by which values may be larger on real texts than on random ids: after norms, after attention (whose averages
# are smaller on random ids, because it is spread over more positions) and in queries.
NORM_MARGIN = 1.1
CONTEXT_MARGIN = 2.0
QUERY_MARGIN = 1.5
# The operator that quantizes the queries of int8 cross-attention.
QUERY_QUANTIZATION = "DynamicQuantizeLinear"
# A channel is divided by its ratio to the median channel to this power.
SMOOTHING_POWER = 0.75
# Scales are rounded up to so many values an octave, so that CPUs with different last bits find the same scale.
SCALES_AN_OCTAVE = 8
# A channel is an outlier if its median ratio to the mean of its row is above this.
OUTLIER_RATIO = 6.0
# More channels in float would cost too much time.
MAX_OUTLIER_CHANNELS = 16


def random_batch(source: Path) -> TeacherForcedBatch:
    """Returns inputs and targets of random ids, for the tokenizer in a model's folder."""
    configuration = read_configuration(source)
    tokens = min(TOKENS, configuration.max_positions or TOKENS)
    random = np.random.default_rng(SEED)
    sources, targets = (
        _random_ids(random, tokens, vocabulary)
        for vocabulary in (configuration.source_vocabulary or configuration.vocabulary, configuration.vocabulary)
    )
    before, after = _special_tokens(Tokenizer(source))
    sources[:, : len(before)] = before
    sources[:, tokens - len(after) :] = after
    targets[:, 0] = configuration.decoder_start_id
    return TeacherForcedBatch(sources, np.ones_like(sources), targets)


def _random_ids(random: np.random.Generator, tokens: int, vocabulary: int) -> Ids:
    """Returns ids, `(texts, tokens)`. In every second text the logarithms of ids are uniform, so small ids prevail."""
    ids = random.integers(0, vocabulary, (TEXTS, tokens))
    ids[1::2] = np.exp(random.uniform(0, np.log(vocabulary), ids[1::2].shape)).astype(np.int64)
    return ids


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Returns the ids of the special tokens before and behind a text.

    An empty text has both. They are told apart at the first token that differs from those of a text with a letter.
    """
    empty, letter = (tokenizer.encode(text, MAX_SPECIAL_TOKENS).ids for text in ("", "a"))
    before = next((index for index, (one, other) in enumerate(zip(empty, letter, strict=False)) if one != other), 0)
    return empty[:before], empty[before:]


@dataclass(frozen=True)
class GraphInputs:
    """One graph in the folder of an exported model's fp32 graphs, with a batch of random or other ids to run it on."""

    exported: Path
    graph: str
    batch: TeacherForcedBatch

    @property
    def path(self) -> Path:
        return self.exported / self.graph

    def inputs_of(self, matmuls: Collection[str]) -> dict[str, Floats]:
        """Runs the model; returns the inputs of matmuls, as `values` does."""
        return self.values(inputs_of(self.path, matmuls)) if matmuls else {}

    def values(self, names: Collection[str]) -> dict[str, Floats]:
        """Runs the model; returns values of the graph for all tokens, by name: `(..., channels)`, float32."""
        if not names:
            return {}
        model = onnx.load(self.path, load_external_data=False)
        outputs = sorted(names)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        # The changed graph is in the folder of the export, because it reads the data file there.
        path = self.exported / f"values.{self.graph}"
        onnx.save(model, str(path))
        try:
            session = open_session(path)
            if self.graph == ENCODER:
                return dict(zip(outputs, session.run(outputs, encoder_feeds(self.batch)), strict=True))
            cross = cross_feeds(open_session(self.exported / ENCODER), self.batch)
            # The caches of a step, which are outputs too, are dropped with it: those of all steps are gigabytes.
            found = [[values[name] for name in outputs] for _, values in steps(session, self.batch, cross)]
            return {name: np.stack(values) for name, values in zip(outputs, zip(*found, strict=True), strict=True)}
        finally:
            path.unlink()


@dataclass(frozen=True)
class StaticScale:
    """The quantization of one input: its channels are divided by `factors`, `(channels,)`, float32, then by `scale`."""

    scale: float
    factors: Floats


def static_scales(inputs: GraphInputs, matmuls: Collection[str]) -> dict[str, StaticScale]:
    """Measures static scales of matmuls' inputs, by name, for outputs of norms and of attention only."""
    matmul_inputs = inputs_of(inputs.path, matmuls)
    margins = {name: margin for name, margin in _margins(inputs.path).items() if name in matmul_inputs}
    # Two kinds of matrices cannot be multiplied by smoothing factors. The matrix of the output projection is the
    # embedding, which is stored once. A matrix that was published in 8 bits must keep its integers.
    graph = onnx.load(inputs.path, load_external_data=False).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    published_in_int8 = {
        node.name
        for node in graph.node
        if node.name in matmuls and published_step(array_of(tensors[node.input[1]], inputs.exported), INT8_MAX)
    }
    not_smoothed = inputs_of(inputs.path, {LM_HEAD_MATMUL} & set(matmuls) | published_in_int8)
    return {
        name: uniform_scale_of(states, margins[name]) if name in not_smoothed else scale_of(states, margins[name])
        for name, states in inputs.values(margins).items()
    }


def static_query_scales(inputs: GraphInputs) -> dict[str, float]:
    """Measures static scales of the queries of int8 cross-attention, by the name of the node that quantizes them."""
    nodes = onnx.load(inputs.path, load_external_data=False).graph.node
    queries = {node.name: node.input[0] for node in nodes if node.op_type == QUERY_QUANTIZATION}
    values = inputs.values(queries.values())
    return {name: scale_for(float(np.abs(values[query]).max()) * QUERY_MARGIN) for name, query in queries.items()}


def scale_of(states: Floats, margin: float) -> StaticScale:
    """Returns a scale with smoothing factors for values `(..., channels)` and for values larger by `margin`.

    Outlier channels are divided by a power of two, and their weights multiplied by it, so that the other channels keep
    their precision (SmoothQuant, Xiao et al. 2022, https://arxiv.org/abs/2211.10438; its factors are not powers of two
    and apply to all channels).
    """
    largest = np.abs(states.reshape(-1, states.shape[-1])).max(axis=0)
    typical = max(float(np.median(largest)), np.finfo(np.float32).tiny)
    octaves = np.log2(np.maximum(largest / typical, 1))
    factors = np.exp2(np.rint(SMOOTHING_POWER * octaves)).astype(np.float32)
    return StaticScale(scale_for(float((largest / factors).max()) * margin), factors)


def uniform_scale_of(states: Floats, margin: float) -> StaticScale:
    """Returns a scale without smoothing factors."""
    return StaticScale(scale_for(float(np.abs(states).max()) * margin), np.ones(states.shape[-1], dtype=np.float32))


def scale_for(largest: float) -> float:
    """Returns the scale of int8 values up to an absolute value."""
    smallest = max(largest / INT8_MAX, float(np.finfo(np.float32).tiny))
    octaves = np.ceil(np.log2(smallest) * SCALES_AN_OCTAVE) / SCALES_AN_OCTAVE
    return float(np.float32(2**octaves))


def _margins(path: Path) -> dict[str, float]:
    """Returns the margins of the outputs of norms and of attention in a graph, by name.

    The graph builder ends each attention with a `Reshape`.
    """
    graph = onnx.load(path, load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    found = {}
    for node in graph.node:
        # An RMS norm ends with a multiplication by its weights; the last one of some T5 has one more factor.
        is_norm = node.op_type == "Mul" and node.input[1] in constants
        if node.op_type == "LayerNormalization" or is_norm:
            found[node.output[0]] = NORM_MARGIN
        elif node.op_type == "Reshape":
            found[node.output[0]] = CONTEXT_MARGIN
    return found


def outlier_channels(inputs: GraphInputs, matmuls: Collection[str]) -> dict[str, list[int]]:
    """Returns the channels of matmuls' inputs, by name, that are much larger than the mean in nearly every row."""
    found = {name: _outliers(states) for name, states in inputs.inputs_of(matmuls).items()}
    return {name: channels for name, channels in found.items() if channels}


def _outliers(states: Floats) -> list[int]:
    """Returns the channels of `states`, `(..., channels)`, that are much larger than their row's mean in most rows."""
    rows = np.abs(states).reshape(-1, states.shape[-1])
    ratios = np.median(rows / np.maximum(rows.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny), axis=0)
    largest = np.argsort(-ratios, kind="stable")[:MAX_OUTLIER_CHANNELS]
    return sorted(int(channel) for channel in largest if ratios[channel] > OUTLIER_RATIO)
