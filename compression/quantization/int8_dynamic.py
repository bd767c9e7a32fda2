"""`int8-dynamic`: weights per output channel, activations dynamically, by ONNX Runtime's kernels.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (https://arxiv.org/abs/1712.05877);
activations get a scale at run time from each tensor's own range, so no calibration is needed. Layers that lose too much
that way are rounded more finely: in the decoder, whose rows are few, weights and inputs get a scale a block; in the
encoder each row of their inputs gets a scale of its own, and channels that are the largest of every row stay in float.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compression.export.block_embedding import Blocks
from compression.export.embedding import quantize_embeddings
from compression.quantization.graphs import write_graphs
from compression.quantization.groups import products_in, products_of, searched_name
from compression.quantization.integer_products import BlockWeights, How, IntegerWeights, ProductRounder, RowInputs
from compression.quantization.large_channels import large_channels
from compression.quantization.protocol import Work
from models_store.configuration import ModelConfiguration, read_configuration
from models_store.graphs.names import DECODER, ENCODER
from models_store.graphs.sources import FloatSources, IntegerSources, Sources
from models_store.manifest import Family, Task

# Level 4 of MatMulNBits rounds inputs in blocks too.
ACCURACY_LEVEL = 4
# Matrix products that lose most when their inputs get one scale a tensor, found on dev splits
# (docs/decisions/001-sensitive-layers.md): a few tokens' outliers set the scale for the whole batch.
SENSITIVE_LAYERS = {
    Family.T5: (r"^encoder/", r"^decoder/.*/DenseReluDense/wo/"),
    Family.BART: (r"^encoder/.*/fc[12]/", r"^(?:model/)?decoder/.*/fc2/"),
}
# Weights of a block in the decoder: larger ones are faster, and a T5 keeps as much with them.
BLOCK_WEIGHTS = {Family.T5: 128, Family.BART: 32}
# A sentence's keys and values are few: rounding them would take more operators a step than it saves bytes.
SOURCES: dict[Task, Sources] = {Task.SUMMARIZATION: IntegerSources(), Task.TRANSLATION: FloatSources()}

# How a graph's sensitive products are rounded, given how other weights are, the folder of the fp32 graphs, the graph's
# name and the products'.
Finely = Callable[[IntegerWeights, Path, str, Collection[str], ModelConfiguration], How]


def by_row(
    weights: IntegerWeights, exported: Path, graph: str, products: Collection[str], configuration: ModelConfiguration
) -> How:
    """Rounds inputs a row at a time, with large channels in float."""
    return RowInputs(weights, large_channels(exported, graph, products, configuration))


def in_blocks(size: int, accuracy_level: int = ACCURACY_LEVEL) -> Finely:
    """Returns what rounds weights in blocks of a size, and inputs too unless the level is 0."""
    how = BlockWeights(Blocks(bits=8, size=size, is_symmetric=True), accuracy_level)
    return lambda _weights, _exported, _graph, _products, _configuration: how


@dataclass(frozen=True)
class Int8Dynamic:
    """The scheme.

    Args:
        encoder: how sensitive products of the encoder are rounded.
        decoder: how those of the decoder are; None takes blocks of the family's size.
    """

    encoder: Finely = by_row
    decoder: Finely | None = None

    description = "Quantized to int8."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        patterns = work.options.sensitive_layers
        if patterns is None:
            patterns = SENSITIVE_LAYERS[work.parent.family]
        configuration = read_configuration(work.source)
        block_weights = BLOCK_WEIGHTS[work.parent.family]
        decoder = self.decoder or in_blocks(block_weights)

        def rounding(work: Work, exported: Path) -> DynamicRounding:
            work.say("looking at the layers that are sensitive")
            plain = IntegerWeights(work.options.per_channel, work.options.reduce_range)
            found = {}
            for graph, finely in ((ENCODER, self.encoder), (DECODER, decoder)):
                products = [name for name in products_of(exported / graph) if is_sensitive(patterns, graph, name)]
                found[graph] = finely(plain, exported, graph, products, configuration)
            return DynamicRounding(plain, patterns, found)

        found = write_graphs(work, folder, rounding, SOURCES[work.parent.task])
        return {"block_weights": block_weights, "sensitive_layers": patterns, **found}


def is_sensitive(patterns: Sequence[str], graph: str, name: str) -> bool:
    """Whether one of some patterns matches a product of a graph."""
    return any(re.search(pattern, searched_name(graph, name)) for pattern in patterns)


@dataclass(frozen=True)
class DynamicRounding:
    """Rounds graphs; products that match a pattern are rounded more finely.

    Args:
        plain: how products are rounded.
        patterns: of those that are rounded otherwise.
        finely: how those are, by the graph's name.
    """

    plain: IntegerWeights
    patterns: Sequence[str]
    finely: Mapping[str, How]

    def round(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with products by constant matrices in int8."""
        model: onnx.ModelProto = onnx.load(path, load_external_data=False)
        kept = set(in_float)
        products = [name for name in products_in(model.graph) if name not in kept]
        finely = self.finely[path.name]
        ProductRounder(model, path.parent).round(
            {name: finely if is_sensitive(self.patterns, path.name, name) else self.plain for name in products}
        )
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs over one int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


SCHEME = Int8Dynamic()
