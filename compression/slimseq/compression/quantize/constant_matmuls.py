"""Finds the constant matmuls of a graph, which multiply by a weight matrix: what the int8 schemes quantize."""

from collections.abc import Collection
from pathlib import Path

import onnx


def matmuls_of(path: Path) -> list[str]:
    graph = onnx.load(path, load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def inputs_of(path: Path, matmuls: Collection[str]) -> set[str]:
    """Returns the names of the inputs of some constant matmuls of a graph."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return {node.input[0] for node in nodes if node.name in matmuls}
