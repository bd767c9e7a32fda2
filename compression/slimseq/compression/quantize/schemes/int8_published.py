"""The scheme `int8-published`: the weights of a model that was published in int8, and its static activation scales.

`import` keeps the scales in `config.json`. They are of the published weights: a variant that was pruned, trained or
stored in half precision has none.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.constant_matmuls import matmuls_of
from slimseq.compression.quantize.graphs import write_graphs
from slimseq.compression.quantize.int8.activations import StaticScale
from slimseq.compression.quantize.int8.integer_matmuls import Int8Weights, StaticScales
from slimseq.compression.quantize.int8.rewriting import quantize_matmuls
from slimseq.compression.quantize.quantize_options import QuantizationRun
from slimseq.inference.models.configuration import read_config
from slimseq.inference.models.marian_student import ACTIVATION_SCALES


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes `onnx/`.

    Raises:
        BadParameters: the configuration has no scale for a matrix.
    """
    published, weights = read_config(run.source).get(ACTIVATION_SCALES, {}), Int8Weights(False)

    def quantize(path: Path) -> onnx.ModelProto:
        model: onnx.ModelProto = onnx.load(path, load_external_data=False)
        names, scales = matmuls_of(path), {}
        for node in model.graph.node:
            if node.name in names:
                # Matrices that read the same inputs have the same scale.
                module = node.input[1].partition(".weight")[0]
                if module not in published:
                    raise BadParameters(
                        f"int8-published needs the activation scales of weights that were published in int8; "
                        f"{run.parent.task}/{run.parent.variant} has none for {module}; take int8-dynamic"
                    )
                scales[node.input[0]] = StaticScale(published[module], np.ones(1, np.float32))
        quantize_matmuls(model, path.parent, dict.fromkeys(names, StaticScales(weights, scales)))
        return model

    write_graphs(run, folder, lambda _: quantize)
    return {}
