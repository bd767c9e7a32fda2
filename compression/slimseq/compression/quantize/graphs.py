"""The constant matmuls of a model's two graphs, and the protocol of a quantizer of these graphs.

A constant matmul multiplies by a weight matrix. `slimseq.inference.graphs.export` says which part of the model each
belongs to; `mixed_precision` chooses the parts that stay in float.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import onnx
from onnx import ModelProto

from slimseq.compression.quantize.embedding import share_embeddings
from slimseq.inference.graphs.export import ModelPart
from slimseq.inference.graphs.external import save_whole
from slimseq.inference.graphs.names import DECODER, ENCODER
from slimseq.inference.models.architecture import OUTPUT_PROJECTION

GRAPHS = (ENCODER, DECODER)


def matmuls_of(path: Path) -> list[str]:
    """Returns the names of a graph's constant matmuls."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def inputs_of(path: Path, matmuls: Collection[str]) -> set[str]:
    """Returns the names of the inputs of some constant matmuls of a graph."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return {node.input[0] for node in nodes if node.name in matmuls}


def qualified_name(graph: str, name: str) -> str:
    """Returns a matmul's name with its stack in front; node names of the encoder graph have no stack."""
    return ((graph.removesuffix(".onnx") if graph == ENCODER else "") + name).lstrip("/")


class Quantizer(Protocol):
    """Quantizes the two exported graphs of one model."""

    def quantize(self, path: Path, in_float: Collection[str]) -> ModelProto:
        """Returns a graph with its constant matmuls quantized, except some.

        Args:
            path: the fp32 graph; its name says which of the two it is.
            in_float: names of `MatMul` nodes that stay in float.

        Returns:
            The graph. Its float tensors may still be in the data file of the fp32 graph.
        """

    def save(self, graphs: dict[Path, ModelProto], vocabulary: int, exported: Path) -> None:
        """Quantizes the embedding, stores it once for all graphs, and saves the graphs.

        Args:
            graphs: quantized graphs by the path to save to, all in the same folder. Changed in place.
            vocabulary: the embedding's rows.
            exported: the folder of the fp32 graphs.
        """


def save_quantized(
    quantizer: Quantizer, exported: Path, target: Path, in_float: Collection[ModelPart], vocabulary: int
) -> None:
    """Quantizes both graphs and saves them in a new folder.

    Args:
        quantizer: of the scheme.
        exported: the folder of the fp32 graphs.
        target: the folder to create.
        in_float: parts that stay in float. With the output projection, the embedding does too.
        vocabulary: the embedding's rows.
    """
    graphs = {target / name: quantizer.quantize(exported / name, names_in(name, in_float)) for name in GRAPHS}
    target.mkdir()
    if any(part.name == OUTPUT_PROJECTION for part in in_float):
        share_embeddings(graphs, vocabulary, exported)
        for path, model in graphs.items():
            save_whole(model, path, exported)
    else:
        quantizer.save(graphs, vocabulary, exported)


def names_in(graph: str, parts: Collection[ModelPart]) -> list[str]:
    """Returns the matmuls of some parts that are in one graph."""
    return [name for part in parts for name in part.matmuls.get(graph, ())]
