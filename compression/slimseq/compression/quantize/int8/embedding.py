"""Stores a model's embedding in int8, once for all graphs and the tied output projection.

Each row (token) has one scale. Lookups read int8 rows and multiply them by their scales. A tied output projection reads
the same rows transposed. Encoder and decoder share one data file. Sinusoidal positions stay in float, and are stored
once too.

ONNX Runtime's dynamic quantizer would keep the embedding in float, with a copy in int8 for the projection. In small
models that is most of the artifact.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from slimseq.compression.quantize.int8.quantize_weights import (
    QUANTIZED_SUFFIX,
    SCALE_SUFFIX,
    Floats,
    Int8,
    quantize_rows,
)
from slimseq.inference.graphs.external import array_of, move_out, save_whole

SHARED_DATA = "embedding.data"
# Rows of a table that are compared at once, to save memory.
ROWS_AT_ONCE = 4096


def quantize_embeddings(graphs: dict[Path, ModelProto], vocabularies: Collection[int], exported: Path) -> None:
    """Quantizes the embeddings of graphs whose matmuls are already int8, and saves the graphs.

    Args:
        graphs: the graphs by the path to save them to, all in one folder.
        vocabularies: sizes of the vocabularies. A lookup in a table with another number of rows is one of positions,
            which stay in float.
        exported: folder of the fp32 graphs, whose data file may have the embeddings.
    """
    tables = _shared_tables(graphs, vocabularies, exported)
    folder = next(iter(graphs)).parent
    stored: dict[bytes, NDArray[Any]] = {key: integers for key, (integers, _) in tables.items()}
    stored |= _repeated_lookups(graphs, vocabularies, exported)
    locations = _write_shared(folder / SHARED_DATA, stored)
    for path, model in graphs.items():
        for initializer in _lookups_of(model.graph):
            key = _key_of(array_of(initializer, exported))
            if key in tables:
                integers, scales = tables[key]
                _use_integers(model.graph, initializer, integers, scales)
                move_out(initializer, TensorProto.INT8, integers.shape, SHARED_DATA, *locations[key])
            elif key in stored:
                move_out(initializer, TensorProto.FLOAT, stored[key].shape, SHARED_DATA, *locations[key])
        save_whole(model, path, exported)


def _repeated_lookups(
    graphs: dict[Path, ModelProto], vocabularies: Collection[int], exported: Path
) -> dict[bytes, Floats]:
    """Returns the float tables that several lookups read, such as tables of positions. Each is stored once."""
    lookups_by_key = Counter[bytes]()
    repeated: dict[bytes, Floats] = {}
    for model in graphs.values():
        for initializer in _lookups_of(model.graph):
            if initializer.dims[0] in vocabularies:
                continue
            floats: Floats = array_of(initializer, exported)
            key = _key_of(floats)
            lookups_by_key[key] += 1
            if lookups_by_key[key] > 1:
                repeated[key] = floats
    return repeated


def _write_shared(path: Path, stored: Mapping[bytes, NDArray[Any]]) -> dict[bytes, tuple[int, int]]:
    """Writes the data file that all graphs share. Returns the offset and the size in bytes of each table by its key."""
    locations: dict[bytes, tuple[int, int]] = {}
    with path.open("wb") as data:
        for key, values in stored.items():
            data.write(bytes(-data.tell() % values.itemsize))
            offset = data.tell()
            locations[key] = (offset, data.write(values.tobytes()))
    return locations


def _use_integers(graph: GraphProto, initializer: TensorProto, integers: Int8, scales: Floats) -> None:
    """Lets the lookups in a table, and a projection tied to it, read its int8 rows."""
    _rewrite_lookups(graph, initializer.name, scales)
    projection = _projection_of(graph, integers)
    if projection is None:
        return
    # The projection reads the table transposed. ONNX Runtime computes the transposition once, at load time.
    name = projection.name
    node = helper.make_node("Transpose", [initializer.name], [name], name=f"{name}_transpose", perm=[1, 0])
    graph.initializer.remove(projection)
    graph.node.insert(0, node)


def _shared_tables(
    graphs: dict[Path, ModelProto], vocabularies: Collection[int], exported: Path
) -> dict[bytes, tuple[Int8, Floats]]:
    """Returns each distinct embedding once: int8 rows and their scales `(vocabulary, 1)`.

    If a graph's output projection is the same matrix, its integers and scales are used, so that both share one copy.
    """
    tables: dict[bytes, tuple[Int8, Floats]] = {}
    for model in graphs.values():
        for initializer in _lookups_of(model.graph):
            if initializer.dims[0] not in vocabularies:
                continue
            floats: Floats = array_of(initializer, exported)
            key = _key_of(floats)
            tied = _tied_projection(model.graph, floats)
            if tied is not None:
                tables[key] = tied
            elif key not in tables:
                tables[key] = quantize_rows(floats)
    return tables


def _lookups_of(graph: GraphProto) -> list[TensorProto]:
    """Returns the float matrices that lookups of token ids or positions read."""
    looked_up = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    return [
        initializer
        for initializer in graph.initializer
        if initializer.name in looked_up and initializer.data_type == TensorProto.FLOAT and len(initializer.dims) == 2
    ]


def _key_of(values: Floats) -> bytes:
    """Returns a hash of a matrix, which identifies equal ones."""
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


def _tied_projection(graph: GraphProto, floats: Floats) -> tuple[Int8, Floats] | None:
    """Returns integers and scales of the output projection, one row a token, if it is the same matrix, quantized."""
    named = {initializer.name: initializer for initializer in graph.initializer}
    for initializer in graph.initializer:
        if initializer.data_type != TensorProto.INT8 or list(initializer.dims) != list(floats.shape[::-1]):
            continue
        scale_name = initializer.name.removesuffix(QUANTIZED_SUFFIX) + SCALE_SUFFIX
        if scale_name not in named:
            continue
        integers = np.ascontiguousarray(numpy_helper.to_array(initializer).T)
        scales = numpy_helper.to_array(named[scale_name]).reshape(-1, 1).astype(np.float32)
        if scales.shape[0] == floats.shape[0] and _is_quantized(floats, integers, scales):
            return integers, scales
    return None


def _is_quantized(floats: Floats, integers: Int8, scales: Floats) -> bool:
    """Whether the difference between two matrices is so small that quantization explains it."""
    for start in range(0, len(floats), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        differences = integers[rows] * scales[rows] - floats[rows]
        # Another matrix of similar values would differ by about twice its own squares.
        if np.square(differences).sum() > np.square(floats[rows]).sum() / 4:
            return False
    return True


def _projection_of(graph: GraphProto, integers: Int8) -> TensorProto | None:
    initializer: TensorProto
    for initializer in graph.initializer:
        is_candidate = initializer.data_type == TensorProto.INT8 and list(initializer.dims) == [*integers.shape[::-1]]
        if is_candidate and np.array_equal(numpy_helper.to_array(initializer).T, integers):
            return initializer
    return None


def _rewrite_lookups(graph: GraphProto, name: str, scales: Floats) -> None:
    """Replaces each lookup in the table by a lookup of int8 rows times a lookup of their scales."""
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}_row_scales"))
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] != name:
            nodes.append(node)
            continue
        ids, output = node.input[1], node.output[0]
        nodes += [
            helper.make_node("Gather", [name, ids], [f"{output}_int8"], name=f"{node.name}_int8"),
            helper.make_node(
                "Cast", [f"{output}_int8"], [f"{output}_float"], name=f"{node.name}_cast", to=TensorProto.FLOAT
            ),
            helper.make_node("Gather", [f"{name}_row_scales", ids], [f"{output}_scale"], name=f"{node.name}_scale"),
            helper.make_node("Mul", [f"{output}_float", f"{output}_scale"], [output], name=f"{node.name}_scaled"),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
