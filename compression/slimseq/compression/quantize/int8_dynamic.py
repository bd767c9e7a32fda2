"""`int8-dynamic`: weights per output channel, activations by ONNX Runtime's kernels, without any data.

Rounding weights to int8 with one scale a channel is as in Jacob et al. 2018 (https://arxiv.org/abs/1712.05877).
Activations that a norm bounds, or that attention averages, get a scale beforehand. Those of layers that lose too much
that way are rounded more finely: each row gets a scale of its own at run time, and channels that are the largest of
every row stay in float. So no row is rounded by what another holds. What is left, where other layers are named as
sensitive, gets a scale at run time from the tensor's own range.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.quantize.embedding import quantize_embeddings
from slimseq.compression.quantize.graphs import write_graphs
from slimseq.compression.quantize.groups import products_of, searched_name
from slimseq.compression.quantize.integer_matmuls import IntegerWeights
from slimseq.compression.quantize.outlier_channels import large_channels
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.random_inputs import Reading, random_batch
from slimseq.compression.quantize.rewriting import How, round_products
from slimseq.compression.quantize.row_matmuls import RowInputs, ScaledRows
from slimseq.compression.quantize.static_matmuls import StaticInputs, StaticQueries
from slimseq.compression.quantize.static_scales import fixed_queries, fixed_scales
from slimseq.inference.graphs.cross_attention_cache import Int8CrossAttentionCache
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import family_of
from slimseq.models_store.manifest import Task

# Others stay in float: a sentence's keys and values are few, and rounding them would take more operators a step than it
# saves bytes.
INT8_CROSS_ATTENTION = frozenset({Task.SUMMARIZATION})

# How some products of a graph are rounded, given how weights are, what shows how large activations get, and the
# products' names.
Way = Callable[[IntegerWeights, Reading, Collection[str]], How]


def by_row(weights: IntegerWeights, reading: Reading, products: Collection[str]) -> How:
    """Rounds inputs a row at a time, with large channels in float."""
    return RowInputs(weights, large_channels(reading, products))


def by_scaled_row(weights: IntegerWeights, reading: Reading, products: Collection[str]) -> How:
    """The same for few rows."""
    return ScaledRows(weights, large_channels(reading, products))


def by_fixed_scale(weights: IntegerWeights, reading: Reading, products: Collection[str]) -> How:
    """Rounds inputs by scales that are known before anything is read."""
    return StaticInputs(weights, fixed_scales(reading, products))


@dataclass(frozen=True)
class Int8Dynamic:
    """The scheme.

    Args:
        encoder: how sensitive products of the encoder are rounded.
        decoder: how those of the decoder are, whose rows are few.
        others: how products are that are not sensitive.
    """

    encoder: Way = by_row
    decoder: Way = by_scaled_row
    others: Way = by_fixed_scale

    description = "Quantized to int8."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        patterns = work.options.sensitive_layers
        if patterns is None:
            patterns = family_of(work.source).sensitive_products

        def quantizer(work: Work, exported: Path) -> DynamicQuantizer:
            work.say("looking at how large activations get")
            batch = random_batch(work.source)
            weights = IntegerWeights(work.options.per_channel, work.options.reduce_range)
            ways: dict[str, dict[str, How]] = {}
            for graph, finely in ((ENCODER, self.encoder), (DECODER, self.decoder)):
                ways[graph] = {}
                reading = Reading(exported, graph, batch)
                products = products_of(reading.path)
                sensitive = {name for name in products if is_sensitive(patterns, graph, name)}
                for names, way in ((sensitive, finely), (set(products) - sensitive, self.others)):
                    ways[graph] |= dict.fromkeys(names, way(weights, reading, names))
            steps = fixed_queries(Reading(exported, DECODER, batch))
            ways[DECODER] |= {name: StaticQueries(step) for name, step in steps.items()}
            return DynamicQuantizer(ways)

        task = work.parent.task
        sources = Int8CrossAttentionCache(work.options.reduce_range) if task in INT8_CROSS_ATTENTION else None
        found = write_graphs(work, folder, quantizer, sources)
        return {"sensitive_layers": patterns, **found}


def is_sensitive(patterns: Sequence[str], graph: str, name: str) -> bool:
    """Whether one of some patterns matches a product of a graph."""
    return any(re.search(pattern, searched_name(graph, name)) for pattern in patterns)


@dataclass(frozen=True)
class DynamicQuantizer:
    """Rounds graphs.

    Args:
        ways: how each node that is rounded is, by its name, by the graph's.
    """

    ways: Mapping[str, Mapping[str, How]]

    def round(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with products by constant matrices in int8."""
        model: onnx.ModelProto = onnx.load(path, load_external_data=False)
        kept = set(in_float)
        round_products(
            model, path.parent, {name: way for name, way in self.ways[path.name].items() if name not in kept}
        )
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs over one int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


SCHEME = Int8Dynamic()
