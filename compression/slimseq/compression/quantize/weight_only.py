"""The schemes `int8-weight-only` and `int4-weight-only`: weights quantized in blocks, activations in float.

8 bits are nearly lossless and not faster than float. 4 bits are rounded to nearest in small blocks, which keep them
accurate (Dettmers and Zettlemoyer 2023, https://arxiv.org/abs/2212.09720), optionally after a quantization-aware
fine-tuning (`aware`).

Matmuls become `MatMulNBits` and lookups `GatherBlockQuantized`, contrib operators of ONNX Runtime. The embedding is
stored once: a lookup and a tied output projection read the same integers, scales and zero points. They need different
shapes, so each has its own tensors over the same bytes of the data file.
"""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from slimseq.compression.export.quiet import quiet_libraries, unchanged_logging
from slimseq.compression.quantize.embedding import SHARED_DATA, Floats, embeddings_of, key_of
from slimseq.compression.quantize.int8.rewriting import DOMAIN
from slimseq.compression.quantize.mixed_precision import write_graphs
from slimseq.compression.quantize.options import Blocks
from slimseq.compression.quantize.scheme import QuantizationRun
from slimseq.inference.graphs.external import array_of, move_out, save_whole

# ONNX Runtime's level of float inputs and sums; higher levels quantize the inputs too.
ACCURACY_LEVEL = 1
# The alignment of float scales in the data file, for fast reads.
ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class QuantizedRows:
    """A quantized matrix: integers, scales and, unless symmetric, zero points, each with its offset in the file."""

    parts: list[NDArray[Any]]
    offsets: list[int]


def quantize_rows_in_blocks(floats: Floats, blocks: Blocks) -> list[NDArray[Any]]:
    """Quantizes each row in blocks, with ONNX Runtime's kernel.

    Args:
        floats: `(rows, width)`, float32.
        blocks: how rows are quantized.

    Returns:
        Packed integers `(rows, blocks, block bytes)`, uint8, low half first; scales `(rows, blocks)`, float32; and,
        unless symmetric, packed zero points `(rows, zero point bytes)`, uint8.
    """
    with unchanged_logging():
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            DefaultWeightOnlyQuantizer,
        )

    configuration = DefaultWeightOnlyQuantConfig(
        block_size=blocks.size, is_symmetric=blocks.is_symmetric, bits=blocks.bits
    )
    quantized = DefaultWeightOnlyQuantizer(configuration).qbits_block_quant(np.ascontiguousarray(floats.T))
    packed, scales, zero_points = quantized
    return [packed, scales] if blocks.is_symmetric else [packed, scales, zero_points]


def quantize_block_embeddings(graphs: dict[Path, ModelProto], vocabulary: int, exported: Path, blocks: Blocks) -> None:
    """Quantizes the embeddings of graphs whose matmuls are already quantized in blocks, and saves the graphs.

    Args:
        graphs: the graphs by the path to save to, all in the same folder. Changed in place.
        vocabulary: rows of an embedding; other lookups (positions) stay in float.
        exported: the folder of the fp32 graphs, whose data file may have the embeddings.
        blocks: how rows are quantized. It must be the same as for the matmuls, so that a tied projection is found.
    """
    quantized: dict[bytes, QuantizedRows] = {}
    with (next(iter(graphs)).parent / SHARED_DATA).open("wb") as data:
        for path, model in graphs.items():
            for initializer in embeddings_of(model.graph, vocabulary):
                floats: Floats = array_of(initializer, exported)
                key = key_of(floats)
                if key not in quantized:
                    parts = quantize_rows_in_blocks(floats, blocks)
                    offsets = []
                    for part in parts:
                        data.write(bytes(-data.tell() % ALIGNMENT_BYTES))
                        offsets.append(data.tell())
                        data.write(part.tobytes())
                    quantized[key] = QuantizedRows(parts, offsets)
                _share_projection(model.graph, quantized[key])
                _rewrite_lookups(model, initializer, quantized[key], blocks, floats.shape[1])
            save_whole(model, path, exported)


def _share_projection(graph: GraphProto, rows: QuantizedRows) -> None:
    """Makes a tied output projection read the bytes of the embedding."""
    named = {initializer.name: initializer for initializer in graph.initializer}
    for node in graph.node:
        if node.op_type != "MatMulNBits" or len(node.input) != len(rows.parts) + 1:
            continue
        packed = named[node.input[1]]
        is_same = list(packed.dims) == list(rows.parts[0].shape) and packed.raw_data == rows.parts[0].tobytes()
        if is_same and named[node.input[2]].raw_data == rows.parts[1].tobytes():
            for name, part, offset in zip(node.input[1:], rows.parts, rows.offsets, strict=True):
                tensor = named[name]
                move_out(tensor, tensor.data_type, tuple(tensor.dims), SHARED_DATA, offset, part.nbytes)


def _rewrite_lookups(model: ModelProto, table: TensorProto, rows: QuantizedRows, blocks: Blocks, width: int) -> None:
    """Replaces each lookup by one of quantized rows, and removes the padding of the last block."""
    graph, name = model.graph, table.name
    graph.initializer.remove(table)
    inputs = []
    for suffix, part, offset in zip(
        ("", "_block_scales", "_block_zero_points"), rows.parts, rows.offsets, strict=False
    ):
        tensor = graph.initializer.add(name=name + suffix)
        kind = helper.np_dtype_to_tensor_dtype(part.dtype)
        move_out(tensor, kind, (part.shape[0], part.size // part.shape[0]), SHARED_DATA, offset, part.nbytes)
        inputs.append(tensor.name)
    padded = rows.parts[1].shape[1] * blocks.size
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] != name:
            nodes.append(node)
            continue
        output = node.output[0]
        lookup = helper.make_node(
            "GatherBlockQuantized",
            [inputs[0], node.input[1], *inputs[1:]],
            [output if padded == width else f"{output}_padded"],
            name=node.name,
            domain=DOMAIN,
            bits=blocks.bits,
            block_size=blocks.size,
            gather_axis=0,
            quantize_axis=1,
        )
        nodes.append(lookup)
        if padded != width:
            bounds = {"starts": 0, "ends": width, "axes": -1}
            for bound, value in bounds.items():
                graph.initializer.append(numpy_helper.from_array(np.array([value]), f"{output}_{bound}"))
            names = [f"{output}_padded", *(f"{output}_{bound}" for bound in bounds)]
            nodes.append(helper.make_node("Slice", names, [output], name=f"{node.name}_cut"))
    del graph.node[:]
    graph.node.extend(nodes)
    if all(opset.domain != DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


@dataclass(frozen=True)
class BlockQuantizer:
    """Quantizes both graphs, in blocks along the input dimension of each matrix."""

    blocks: Blocks

    def quantize(self, path: Path, in_float: Collection[str]) -> onnx.ModelProto:
        """Returns the graph with constant matmuls as `MatMulNBits`, as `Quantizer.quantize` says."""
        with unchanged_logging():
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        with quiet_libraries():
            quantizer = MatMulNBitsQuantizer(
                onnx.load(path),
                bits=self.blocks.bits,
                block_size=self.blocks.size,
                is_symmetric=self.blocks.is_symmetric,
                accuracy_level=ACCURACY_LEVEL,
                nodes_to_exclude=list(in_float),
            )
            quantizer.process()
        model: onnx.ModelProto = quantizer.model.model
        return model

    def save(self, graphs: dict[Path, onnx.ModelProto], vocabulary: int, exported: Path) -> None:
        """Saves the graphs with a shared embedding in blocks."""
        quantize_block_embeddings(graphs, vocabulary, exported, self.blocks)


@dataclass(frozen=True)
class WeightOnly:
    """The scheme.

    Args:
        bits: 4 or 8.
        description: for the model card.
    """

    bits: int
    description: str

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes `onnx/`, as `Scheme.write` says."""
        if not run.options.aware_steps:
            return self._write(run, folder)
        from slimseq.compression.quantize.aware import fine_tune

        with tempfile.TemporaryDirectory() as scratch:
            report = fine_tune(run, Path(scratch))
            return self._write(replace(run, source=Path(scratch)), folder) | {"aware": report}

    def _write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        blocks = Blocks(self.bits, run.options.block_size, run.options.symmetric)
        return write_graphs(run, folder, lambda *_: BlockQuantizer(blocks))


INT8 = WeightOnly(8, "Weights quantized to int8.")
INT4 = WeightOnly(4, "Weights quantized to int4.")
