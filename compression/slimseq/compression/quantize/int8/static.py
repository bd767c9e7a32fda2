"""The scheme `int8-static`: int8 weights with one scale an output channel, int8 activations with calibrated scales.

The graphs are in ONNX Runtime's QDQ form (quantize and dequantize nodes around each matmul), which the runtime fuses
into integer kernels. The smallest and the largest activations are measured with the fp32 graphs: the encoder runs on
inputs, the decoder step by step on targets.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from slimseq.compression.errors import BadParameters
from slimseq.compression.export.quiet import quiet_libraries
from slimseq.compression.quantize.graphs import Quantizer, matmuls_of, write_graphs
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.compression.quantize.teacher_forcing import (
    Feeds,
    TeacherForcedBatch,
    batches,
    cross_feeds,
    encoder_feeds,
    open_session,
    steps,
)
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer

# Target tokens of a calibration pair: enough for the inputs of attention to vary.
MAX_STEPS = 48


def write(run: QuantizationRun, folder: Path) -> dict[str, Any]:
    """Writes `onnx/`; returns the number of calibration pairs."""
    data = read_calibration(run)

    def make_quantizer(exported: Path) -> Quantizer:
        run.report_status("calibrating")
        ranges = calibrate(exported, data)
        return lambda path: _quantized(path, ranges[path.name], run.options.reduce_range)

    write_graphs(run, folder, make_quantizer)
    return {"calibration_pairs": sum(len(batch.sources) for batch in data)}


def read_calibration(run: QuantizationRun) -> list[TeacherForcedBatch]:
    from slimseq.compression.train.data.pairs import TrainingSet, limits_of, read_examples

    files, samples, generation = run.files, run.options.calibration_samples, run.parent.generation
    names = (files.calibration or files.train) if files is not None else ()
    if not names:
        raise BadParameters(f"{run.options.scheme} needs calibration or train data here; name at least one file")
    configuration = read_configuration(run.source)
    examples = read_examples(run.parent.task, names, samples)[:samples]
    limits = limits_of(generation, configuration.max_positions)
    dataset = TrainingSet(examples, Tokenizer(run.source), generation.prefix, limits)
    return batches(dataset, configuration, MAX_STEPS)


def calibrate(exported: Path, data: list[TeacherForcedBatch]) -> dict[str, Any]:
    """Returns the ranges of activations, in the form of ONNX Runtime's quantizers, by graph file."""
    encoder, decoder = open_session(exported / ENCODER), open_session(exported / DECODER)
    feeds = {
        ENCODER: (encoder_feeds(batch) for batch in data),
        DECODER: (feeds for batch in data for feeds, _ in steps(decoder, batch, cross_feeds(encoder, batch))),
    }
    return {graph: _ranges(exported / graph, feeds[graph]) for graph in feeds}


def _ranges(path: Path, feeds: Iterator[Feeds]) -> Any:
    from onnxruntime.quantization.calibrate import create_calibrator

    with quiet_libraries():
        calibrator = create_calibrator(
            path, ["MatMul"], augmented_model_path=str(path.with_suffix(".calibration.onnx"))
        )
        for feed in feeds:
            # One at a time: the library's own loop does not support steps of different shapes.
            calibrator.collect_data(_SingleFeed(feed))
            calibrator.clear_collected_data()
        return calibrator.compute_data()


class _SingleFeed:
    def __init__(self, feed: Feeds) -> None:
        self._feeds = [feed]

    def get_next(self) -> Feeds | None:
        return self._feeds.pop() if self._feeds else None


def _quantized(path: Path, ranges: Any, reduce_range: bool) -> onnx.ModelProto:
    """Returns a graph in QDQ form."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    with quiet_libraries():
        quantizer = QDQQuantizer(
            onnx.load(path),
            per_channel=True,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=matmuls_of(path),
            nodes_to_exclude=[],
            op_types_to_quantize=["MatMul"],
            extra_options={"WeightSymmetric": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
        quantizer.quantize_model()
    model: onnx.ModelProto = quantizer.model.model
    return model
