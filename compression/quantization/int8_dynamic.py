"""`int8-dynamic`: weights per output channel, activations dynamically, by ONNX Runtime's kernels.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (https://arxiv.org/abs/1712.05877);
activations get a scale at run time from each tensor's own range, so no calibration is needed. Layers that lose too much
that way get one weight scale for each block of a channel, and inputs that are not rounded a tensor at a time.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compression.export.block_embedding import Blocks
from compression.export.embedding import quantize_embeddings
from compression.quantization.graphs import write_graphs
from compression.quantization.groups import products_in, searched_name
from compression.quantization.integer_products import BlockWeights, IntegerWeights, ProductRounder
from compression.quantization.options import QuantizeOptions
from compression.quantization.protocol import Work
from models_store.graphs.names import DECODER, ENCODER
from models_store.graphs.sources import IntegerSources
from models_store.manifest import Family

BLOCK_WEIGHTS = 32
# How MatMulNBits computes: 4 with inputs rounded in blocks too, 0 in float, which the outliers of a T5's encoder need.
ACCURACY_LEVELS = {
    Family.T5: {ENCODER: 0, DECODER: 4},
    Family.BART: {ENCODER: 4, DECODER: 4},
}
# Matrix products that lose most when their inputs get one scale a tensor, found on dev splits
# (docs/decisions/001-sensitive-layers.md): a few tokens' outliers set the scale for the whole batch.
SENSITIVE_LAYERS = {
    Family.T5: (r"^encoder/.*/DenseReluDense/w", r"^decoder/.*/DenseReluDense/wo/"),
    Family.BART: (r"^encoder/.*/fc[12]/", r"^decoder/.*/fc2/"),
}


class Int8Dynamic:
    """The scheme."""

    description = "Quantized to int8."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        patterns = work.options.sensitive_layers
        if patterns is None:
            patterns = SENSITIVE_LAYERS[work.parent.family]
        levels = ACCURACY_LEVELS[work.parent.family]
        found = write_graphs(
            work, folder, lambda work, _: DynamicRounding(work.options, patterns, levels), IntegerSources()
        )
        return {"block_weights": BLOCK_WEIGHTS, "sensitive_layers": patterns, **found}


@dataclass(frozen=True)
class DynamicRounding:
    """Rounds graphs; products that match a pattern are rounded in blocks."""

    options: QuantizeOptions
    patterns: Sequence[str]
    accuracy_levels: Mapping[str, int]

    def round(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with products by constant matrices in int8, the sensitive ones in blocks."""
        model: onnx.ModelProto = onnx.load(path, load_external_data=False)
        kept = set(in_float)
        products = [name for name in products_in(model.graph) if name not in kept]
        in_blocks = {name for name in products if self._is_sensitive(path.name, name)}
        ProductRounder(model, path.parent).round(
            set(products) - in_blocks,
            IntegerWeights(self.options.per_channel, self.options.reduce_range),
            in_blocks,
            BlockWeights(Blocks(bits=8, size=BLOCK_WEIGHTS, is_symmetric=True), self.accuracy_levels[path.name]),
        )
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs over one int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)

    def _is_sensitive(self, graph: str, name: str) -> bool:
        """Whether a product's name matches one of the patterns."""
        return any(re.search(pattern, searched_name(graph, name)) for pattern in self.patterns)


SCHEME = Int8Dynamic()
