"""The scheme `int8-dynamic`: weights and activations in int8, without calibration data.

Weights have one scale for each output channel (Jacob et al. 2018, https://arxiv.org/abs/1712.05877). There are three
kinds of activation scales:

- Inputs of sensitive matmuls: one dynamic scale a row. Outlier channels stay in float.
- Outputs of norms and of attention: a static scale, measured on random ids.
- Other inputs: one dynamic scale a tensor, by ONNX Runtime.

With the default sensitive layers no input has the third kind, so outputs are batch-invariant.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.quantize.embedding import quantize_embeddings
from slimseq.compression.quantize.graphs import matmuls_of, qualified_name
from slimseq.compression.quantize.int8.activations import (
    GraphInputs,
    outlier_channels,
    random_batch,
    static_query_scales,
    static_scales,
)
from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights, StaticQueryScale, StaticScales
from slimseq.compression.quantize.int8.rewriting import MatmulQuantizer, quantize_matmuls
from slimseq.compression.quantize.int8.row_matmuls import NormalizedRows, RowScales
from slimseq.compression.quantize.mixed_precision import write_graphs
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.inference.graphs.cross_attention_cache import Int8CrossAttentionCache
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import family_of
from slimseq.models_store.manifest import Task

# For sentences, keys and values stay in float: there are few, and their quantization takes more time than it saves.
INT8_CROSS_ATTENTION = frozenset({Task.SUMMARIZATION})

# Makes the quantizer of some matmuls of a graph from: how weights are quantized, the graph with inputs to run it on,
# and the names of the matmuls.
MakeMatmulQuantizer = Callable[[Int8Weights, GraphInputs, Collection[str]], MatmulQuantizer]


def row_scales(weights: Int8Weights, inputs: GraphInputs, matmuls: Collection[str]) -> MatmulQuantizer:
    """One scale a row, with outlier channels in float: for many rows."""
    return RowScales(weights, outlier_channels(inputs, matmuls))


def normalized_rows(weights: Int8Weights, inputs: GraphInputs, matmuls: Collection[str]) -> MatmulQuantizer:
    """One scale a row, with outlier channels in float: for few rows."""
    return NormalizedRows(weights, outlier_channels(inputs, matmuls))


def static_input_scales(weights: Int8Weights, inputs: GraphInputs, matmuls: Collection[str]) -> MatmulQuantizer:
    """Static scales where a norm or attention bounds the inputs, else one dynamic scale a tensor."""
    return StaticScales(weights, static_scales(inputs, matmuls))


@dataclass(frozen=True)
class Int8Dynamic:
    """The scheme.

    Args:
        encoder: for sensitive matmuls of the encoder.
        decoder: for sensitive matmuls of the decoder, which have few rows.
        others: for all other matmuls.
    """

    encoder: MakeMatmulQuantizer = row_scales
    decoder: MakeMatmulQuantizer = normalized_rows
    others: MakeMatmulQuantizer = static_input_scales

    description = "Quantized to int8."

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        patterns = run.options.sensitive_layers
        if patterns is None:
            patterns = family_of(run.source).sensitive_products

        def make_quantizer(run: QuantizationRun, exported: Path) -> DynamicQuantizer:
            run.report_status("measuring activations")
            batch = random_batch(run.source)
            weights = Int8Weights(run.options.per_channel, run.options.reduce_range)
            quantizers: dict[str, dict[str, MatmulQuantizer]] = {}
            for graph, for_sensitive in ((ENCODER, self.encoder), (DECODER, self.decoder)):
                quantizers[graph] = {}
                inputs = GraphInputs(exported, graph, batch)
                matmuls = matmuls_of(inputs.path)
                sensitive = {name for name in matmuls if is_sensitive(patterns, graph, name)}
                for names, make in ((sensitive, for_sensitive), (set(matmuls) - sensitive, self.others)):
                    quantizers[graph] |= dict.fromkeys(names, make(weights, inputs, names))
            scales = static_query_scales(GraphInputs(exported, DECODER, batch))
            quantizers[DECODER] |= {name: StaticQueryScale(scale) for name, scale in scales.items()}
            return DynamicQuantizer(quantizers)

        is_int8 = run.parent.task in INT8_CROSS_ATTENTION
        cross_attention = Int8CrossAttentionCache(run.options.reduce_range) if is_int8 else None
        found = write_graphs(run, folder, make_quantizer, cross_attention)
        return {"sensitive_layers": patterns, **found}


def is_sensitive(patterns: Sequence[str], graph: str, name: str) -> bool:
    """Whether a pattern matches a matmul of a graph."""
    return any(re.search(pattern, qualified_name(graph, name)) for pattern in patterns)


@dataclass(frozen=True)
class DynamicQuantizer:
    """Quantizes both graphs.

    Args:
        quantizers: the quantizer of each node, by the graph's file and the node's name.
    """

    quantizers: Mapping[str, Mapping[str, MatmulQuantizer]]

    def quantize(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with constant matmuls in int8, as `Quantizer.quantize` says."""
        model: onnx.ModelProto = onnx.load(path, load_external_data=False)
        kept = set(in_float)
        chosen = {name: quantizer for name, quantizer in self.quantizers[path.name].items() if name not in kept}
        quantize_matmuls(model, path.parent, chosen)
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs with a shared int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


INT8_DYNAMIC = Int8Dynamic()
