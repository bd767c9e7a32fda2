"""The scheme `int8-dynamic`: weights and activations in int8, without calibration data.

Weights have one scale for each output channel (Jacob et al. 2018, https://arxiv.org/abs/1712.05877). There are three
kinds of activation scales:

- Inputs of sensitive matmuls: one dynamic scale a row. Outlier channels stay in float.
- Outputs of norms and of attention: a static scale, measured on random ids.
- Other inputs: one dynamic scale a tensor, by ONNX Runtime.

With the default sensitive layers no input has the third kind, so outputs are batch-invariant.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.quantize.constant_matmuls import matmuls_of
from slimseq.compression.quantize.graphs import Quantizer, write_graphs
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
from slimseq.compression.quantize.quantize_options import QuantizationRun
from slimseq.inference.graphs.cross_attention_cache import Int8CrossAttentionCache
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER
from slimseq.inference.models.configuration import family_of
from slimseq.models_store.manifest import Task

# For sentences, keys and values stay in float: there are few, and their quantization takes more time than it saves.
INT8_CROSS_ATTENTION = frozenset({Task.SUMMARIZATION})


def write(
    run: QuantizationRun, folder: Path, make_weights: Callable[[Path], Int8Weights] | None = None
) -> dict[str, Any]:
    """Writes `onnx/`; returns the patterns of the sensitive layers.

    `make_weights` says how weights are quantized, given the folder of the fp32 graphs; None means plain int8.
    """
    options = run.options
    patterns = options.sensitive_layers
    if patterns is None:
        patterns = family_of(run.source).sensitive_products

    def make_quantizer(exported: Path) -> Quantizer:
        run.report_status("measuring activations")
        batch = random_batch(run.source)
        weights = make_weights(exported) if make_weights else Int8Weights(options.reduce_range)
        chosen = {
            graph: choose_quantizers(GraphInputs(exported, graph, batch), patterns, weights)
            for graph in (ENCODER, DECODER)
        }

        def quantize(path: Path) -> onnx.ModelProto:
            model: onnx.ModelProto = onnx.load(path, load_external_data=False)
            quantize_matmuls(model, exported, chosen[path.name])
            return model

        return quantize

    is_int8 = run.parent.task in INT8_CROSS_ATTENTION
    write_graphs(run, folder, make_quantizer, Int8CrossAttentionCache(options.reduce_range) if is_int8 else None)
    return {"sensitive_layers": patterns}


def choose_quantizers(inputs: GraphInputs, patterns: Sequence[str], weights: Int8Weights) -> dict[str, MatmulQuantizer]:
    """Returns the quantizer of each node of a graph by its name."""
    matmuls = matmuls_of(inputs.path)
    sensitive = {name for name in matmuls if _is_sensitive(patterns, inputs.graph, name)}
    others = set(matmuls) - sensitive
    # `NormalizedRows` is faster for few rows, and a step of the decoder has few.
    by_row = RowScales if inputs.graph == ENCODER else NormalizedRows
    found: dict[str, MatmulQuantizer] = {}
    found |= dict.fromkeys(sensitive, by_row(weights, outlier_channels(inputs, sensitive)))
    found |= dict.fromkeys(others, StaticScales(weights, static_scales(inputs, others)))
    if inputs.graph == DECODER:
        found |= {name: StaticQueryScale(scale) for name, scale in static_query_scales(inputs).items()}
    return found


def _is_sensitive(patterns: Sequence[str], graph: str, name: str) -> bool:
    # Node names of the encoder graph have no stack in front.
    qualified = f"encoder{name}" if graph == ENCODER else name.lstrip("/")
    return any(re.search(pattern, qualified) for pattern in patterns)
