"""Stores an embedding in blocks that share a scale, once for lookups and the tied output projection.

Lookups become `GatherBlockQuantized`, which reads the very bytes that the projection's `MatMulNBits` reads: packed
integers, scales and zero points (ONNX Runtime's contrib operators, domain `com.microsoft`). The two operators want
them in different shapes, so each has tensors of its own over the same range of one file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from slimseq.compression.export.quiet import unchanged_logging
from slimseq.compression.quantize.embedding import SHARED_DATA, Floats, embeddings_of, key_of
from slimseq.inference.graphs.external import array_of, move_out, save_whole

DOMAIN = "com.microsoft"
# Mapped files need no alignment in particular; float scales read faster on a boundary of their own.
ALIGNMENT = 64


@dataclass(frozen=True)
class Blocks:
    """How rows are rounded: `bits` (4 or 8) a weight, `size` weights a scale, with zero points unless symmetric."""

    bits: int
    size: int
    is_symmetric: bool


@dataclass(frozen=True)
class QuantizedRows:
    """A rounded matrix: its parts (integers, scales, then zero points if any), each with its place in the file."""

    parts: list[NDArray[Any]]
    offsets: list[int]


def round_rows(floats: Floats, blocks: Blocks) -> list[NDArray[Any]]:
    """Rounds each row in blocks with ONNX Runtime's own kernel.

    Args:
        floats: `(rows, width)`, float32.
        blocks: how.

    Returns:
        Packed integers `(rows, blocks, block bytes)`, uint8, low half first; scales `(rows, blocks)`, float32; and
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
    """Rounds the embeddings of graphs whose products are already in blocks, and saves the graphs.

    Args:
        graphs: the graphs by the path to save to; all in one folder. Changed in place.
        vocabulary: rows of an embedding; other lookups (positions) stay in float.
        exported: the folder of the fp32 graphs, in whose data file tables may still be.
        blocks: how rows are rounded: as the graphs' products are, or the tied projection is not found.
    """
    quantized: dict[bytes, QuantizedRows] = {}
    with (next(iter(graphs)).parent / SHARED_DATA).open("wb") as data:
        for path, model in graphs.items():
            for initializer in embeddings_of(model.graph, vocabulary):
                floats: Floats = array_of(initializer, exported)
                key = key_of(floats)
                if key not in quantized:
                    parts = round_rows(floats, blocks)
                    offsets = []
                    for part in parts:
                        data.write(bytes(-data.tell() % ALIGNMENT))
                        offsets.append(data.tell())
                        data.write(part.tobytes())
                    quantized[key] = QuantizedRows(parts, offsets)
                _share_projection(model.graph, quantized[key])
                _rewrite_lookups(model, initializer, quantized[key], blocks, floats.shape[1])
            save_whole(model, path, exported)


def _share_projection(graph: GraphProto, rows: QuantizedRows) -> None:
    """Moves the tied output projection's tensors to where the embedding's are."""
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
    """Turns each lookup of the table into one of rounded rows, cut where the last block is padded."""
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
