"""`int8-dynamic`: weights per output channel, activations dynamically, by ONNX Runtime's kernels.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (https://arxiv.org/abs/1712.05877);
activations get a scale at run time from each tensor's own range, so no calibration is needed. Layers that lose too much
that way are rounded more finely: each row of their inputs gets a scale of its own, and channels that are the largest of
every row stay in float.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compression.export.embedding import quantize_embeddings
from compression.quantization.graphs import write_graphs
from compression.quantization.groups import products_in, products_of, searched_name
from compression.quantization.integer_products import IntegerWeights
from compression.quantization.large_channels import large_channels
from compression.quantization.protocol import Work
from compression.quantization.rewriting import How, round_products
from compression.quantization.row_products import RowInputs, ScaledRows
from models_store.configuration import ModelConfiguration, read_configuration
from models_store.graphs.names import DECODER, ENCODER
from models_store.graphs.sources import IntegerSources, Sources
from models_store.manifest import Family, Task

# Matrix products that lose most when their inputs get one scale a tensor, found on dev splits
# (docs/decisions/001-sensitive-layers.md): a few tokens' outliers set the scale for the whole batch.
SENSITIVE_LAYERS = {
    Family.T5: (r"^encoder/", r"^decoder/.*/DenseReluDense/wo/"),
    Family.BART: (r"^encoder/.*/fc[12]/", r"^(?:model/)?decoder/.*/fc2/"),
}
# Others stay in float: a sentence's keys and values are few, and rounding them would take more operators a step than it
# saves bytes.
SOURCES: dict[Task, Sources] = {Task.SUMMARIZATION: IntegerSources()}

# How a graph's sensitive products are rounded, given how other weights are, the folder of the fp32 graphs, the graph's
# name, the products' and the model's configuration.
Finely = Callable[[IntegerWeights, Path, str, Collection[str], ModelConfiguration], How]


def by_row(
    weights: IntegerWeights, exported: Path, graph: str, products: Collection[str], configuration: ModelConfiguration
) -> How:
    """Rounds inputs a row at a time, with large channels in float."""
    return RowInputs(weights, large_channels(exported, graph, products, configuration))


def by_scaled_row(
    weights: IntegerWeights, exported: Path, graph: str, products: Collection[str], configuration: ModelConfiguration
) -> How:
    """The same for few rows."""
    return ScaledRows(weights, large_channels(exported, graph, products, configuration))


@dataclass(frozen=True)
class Int8Dynamic:
    """The scheme.

    Args:
        encoder: how sensitive products of the encoder are rounded.
        decoder: how those of the decoder are, whose rows are few.
    """

    encoder: Finely = by_row
    decoder: Finely = by_scaled_row

    description = "Quantized to int8."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        patterns = work.options.sensitive_layers
        if patterns is None:
            patterns = SENSITIVE_LAYERS[work.parent.family]
        configuration = read_configuration(work.source)

        def rounding(work: Work, exported: Path) -> DynamicRounding:
            work.say("looking at the layers that are sensitive")
            plain = IntegerWeights(work.options.per_channel, work.options.reduce_range)
            found = {}
            for graph, finely in ((ENCODER, self.encoder), (DECODER, self.decoder)):
                products = [name for name in products_of(exported / graph) if is_sensitive(patterns, graph, name)]
                found[graph] = finely(plain, exported, graph, products, configuration)
            return DynamicRounding(plain, patterns, found)

        found = write_graphs(work, folder, rounding, SOURCES.get(work.parent.task))
        return {"sensitive_layers": patterns, **found}


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
        ways = {name: finely if is_sensitive(self.patterns, path.name, name) else self.plain for name in products}
        round_products(model, path.parent, ways)
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs over one int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


SCHEME = Int8Dynamic()
