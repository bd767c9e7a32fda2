"""`int8-static`: weights per output channel, activations with one scale a tensor that calibration data sets beforehand.

Quantize and dequantize nodes stand around each product (ONNX Runtime's QDQ form), which the runtime fuses into integer
kernels. Ranges come from running the fp32 graphs: the encoder over sources, the decoder step by step over targets with
real caches. `entropy` chooses the range whose rounding keeps the histogram closest (Migacz 2017, "8-bit inference with
TensorRT"), `percentile` leaves out the 0.001 % that lie farthest (Wu et al. 2020, https://arxiv.org/abs/2004.09602).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.export.quiet import quiet_libraries
from slimseq.compression.quantize.embedding import quantize_embeddings
from slimseq.compression.quantize.graphs import write_graphs
from slimseq.compression.quantize.groups import products_of
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.sensitivity import open_session
from slimseq.compression.quantize.teacher_forcing import Batch, Feeds, batches, cross_feeds, encoder_feeds, steps
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration

# Target tokens of a calibration pair: the caches' lengths, and so attention's inputs, vary enough by then.
MAX_STEPS = 48


class Int8Static:
    """The scheme."""

    description = "Quantized to int8 with calibrated activations."

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        data = batches(work.calibration(), read_configuration(work.source), MAX_STEPS)

        def calibrated(work: Work, exported: Path) -> StaticQuantizer:
            work.say("calibrating")
            return StaticQuantizer(work.options, calibrate(exported, data, work.options))

        found = write_graphs(work, folder, calibrated)
        return {"calibration_pairs": sum(len(batch.sources) for batch in data), **found}


def calibrate(exported: Path, data: list[Batch], options: QuantizeOptions) -> dict[str, Any]:
    """Returns the ranges of activations, as ONNX Runtime's quantizers take them, by graph file.

    Args:
        exported: the folder of the fp32 graphs.
        data: what to run.
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
            # One at a time: steps differ in shape, which the library's own loop over a reader does not take.
            calibrator.collect_data(_Once(feed))
            calibrator.clear_collected_data()
        return calibrator.compute_data()


class _Once:
    """A calibration reader of one feed."""

    def __init__(self, feed: Feeds) -> None:
        self._feeds = [feed]

    def get_next(self) -> Feeds | None:
        return self._feeds.pop() if self._feeds else None


@dataclass(frozen=True)
class StaticQuantizer:
    """Rounds graphs with ranges that were measured beforehand."""

    options: QuantizeOptions
    ranges: dict[str, Any]

    def round(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with quantized and dequantized inputs around products by constant matrices."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        kept = set(in_float)
        quantized = [name for name in products_of(path) if name not in kept]
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
        """Saves the graphs over one int8 embedding."""
        quantize_embeddings(graphs, vocabulary, exported)


SCHEME = Int8Static()
