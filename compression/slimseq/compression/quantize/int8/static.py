"""The scheme `int8-static`: int8 weights with one scale an output channel, int8 activations with calibrated scales.

The graphs are in ONNX Runtime's QDQ form (quantize and dequantize nodes around each matmul), which the runtime fuses
into integer kernels. Activation ranges are measured with the fp32 graphs: the encoder runs on inputs, the decoder step
by step on targets. `entropy` chooses the range that preserves the histogram best (Migacz 2017, "8-bit inference with
TensorRT"), `percentile` ignores the 0.001 % farthest values (Wu et al. 2020, https://arxiv.org/abs/2004.09602).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.export.quiet import quiet_libraries
from slimseq.compression.quantize.embedding import quantize_embeddings
from slimseq.compression.quantize.graphs import matmuls_of
from slimseq.compression.quantize.mixed_precision import write_graphs
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.compression.quantize.teacher_forcing import (
    Batch,
    Feeds,
    batches,
    cross_feeds,
    encoder_feeds,
    open_session,
    steps,
)
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration

# Target tokens of a calibration pair: enough for the inputs of attention to vary.
MAX_STEPS = 48


class Int8Static:
    """The scheme."""

    description = "Quantized to int8 with calibrated activations."

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        data = batches(run.calibration(), read_configuration(run.source), MAX_STEPS)

        def make_quantizer(run: QuantizationRun, exported: Path) -> StaticQuantizer:
            run.report_status("calibrating")
            return StaticQuantizer(run.options, calibrate(exported, data, run.options))

        found = write_graphs(run, folder, make_quantizer)
        return {"calibration_pairs": sum(len(batch.sources) for batch in data), **found}


def calibrate(exported: Path, data: list[Batch], options: QuantizeOptions) -> dict[str, Any]:
    """Returns the ranges of activations, in the form of ONNX Runtime's quantizers, by graph file.

    Args:
        exported: the folder of the fp32 graphs.
        data: the calibration pairs.
        options: the method, and whether ranges are symmetric.
    """
    encoder, decoder = open_session(exported / ENCODER), open_session(exported / DECODER)
    feeds = {
        ENCODER: (encoder_feeds(batch) for batch in data),
        DECODER: (feeds for batch in data for feeds, _ in steps(decoder, batch, cross_feeds(encoder, batch))),
    }
    return {graph: _ranges(exported / graph, feeds[graph], options) for graph in feeds}


def _ranges(path: Path, feeds: Iterator[Feeds], options: QuantizeOptions) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    with quiet_libraries():
        calibrator = create_calibrator(
            path,
            ["MatMul"],
            augmented_model_path=str(path.with_suffix(".calibration.onnx")),
            calibrate_method=methods[options.calibration_method],
            extra_options={"symmetric": options.symmetric},
        )
        for feed in feeds:
            # One at a time: the library's own loop does not support steps of different shapes.
            calibrator.collect_data(_SingleFeed(feed))
            calibrator.clear_collected_data()
        return calibrator.compute_data()


class _SingleFeed:
    """A calibration data reader with one feed."""

    def __init__(self, feed: Feeds) -> None:
        self._feeds = [feed]

    def get_next(self) -> Feeds | None:
        return self._feeds.pop() if self._feeds else None


@dataclass(frozen=True)
class StaticQuantizer:
    """Quantizes both graphs with measured ranges, by graph file."""

    options: QuantizeOptions
    ranges: dict[str, Any]

    def quantize(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph in QDQ form, as `Quantizer.quantize` says."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        kept = set(in_float)
        quantized = [name for name in matmuls_of(path) if name not in kept]
        if not quantized:
            return onnx.load(path)
        with quiet_libraries():
            quantizer = QDQQuantizer(
                onnx.load(path),
                self.options.per_channel,
                self.options.reduce_range,
                QuantType.QInt8,
                QuantType.QInt8 if self.options.symmetric else QuantType.QUInt8,
                self.ranges[path.name],
                quantized,
                [],
                ["MatMul"],
                {
                    "ActivationSymmetric": self.options.symmetric,
                    "WeightSymmetric": True,
                    "OpTypesToExcludeOutputQuantization": ["MatMul"],
                },
            )
            quantizer.quantize_model()
        model: onnx.ModelProto = quantizer.model.model
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs with a shared int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


INT8_STATIC = Int8Static()
