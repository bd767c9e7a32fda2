"""The constant matmuls of a model's two graphs, and the protocol of a quantizer of these graphs.

A constant matmul multiplies by a weight matrix. Matmuls are grouped by the part of the model that they belong to, such
as `encoder/layer 0/feed forward`; `mixed_precision` chooses the groups that stay in float.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx
from onnx import ModelProto

from slimseq.compression.quantize.embedding import share_embeddings
from slimseq.inference.graphs.external import save_whole
from slimseq.inference.graphs.names import DECODER, ENCODER

GRAPHS = (ENCODER, DECODER)
OUTPUT_PROJECTION = "embedding and output projection"
LAYER = re.compile(r"(?:block|layers)\.(\d+)/")
PARTS = {
    "self-attention": re.compile(r"/(SelfAttention|self_attn)/"),
    "cross-attention": re.compile(r"/(EncDecAttention|encoder_attn)/"),
    "feed forward": re.compile(r"/(DenseReluDense|fc[12])/"),
}


@dataclass(frozen=True)
class Group:
    """Matmuls that are quantized or left in float together: their node names by graph file."""

    name: str
    matmuls: Mapping[str, tuple[str, ...]]


def groups_of(exported: Path) -> list[Group]:
    """Returns the groups of a model's two graphs, in the order in which the model runs them.

    Keys and values of cross-attention are in the encoder graph, queries in the decoder graph; they are one group. The
    output projection and the embedding share a matrix and are one group too.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for graph in GRAPHS:
        for name in matmuls_of(exported / graph):
            found.setdefault(_group_name(graph, name), {}).setdefault(graph, []).append(name)
    return [
        Group(name, {graph: tuple(names) for graph, names in matmuls.items()})
        for name, matmuls in sorted(found.items(), key=lambda item: _order(item[0]))
    ]


def matmuls_of(path: Path) -> list[str]:
    """Returns the names of a graph's constant matmuls."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def inputs_of(path: Path, matmuls: Collection[str]) -> set[str]:
    """Returns the names of the inputs of some constant matmuls of a graph."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return {node.input[0] for node in nodes if node.name in matmuls}


def is_output_projection(name: str) -> bool:
    """Whether a matmul is the output projection, which belongs to no layer."""
    return LAYER.search(name) is None


def qualified_name(graph: str, name: str) -> str:
    """Returns a matmul's name with its stack in front; node names of the encoder graph have no stack."""
    return ((graph.removesuffix(".onnx") if graph == ENCODER else "") + name).lstrip("/")


def _group_name(graph: str, name: str) -> str:
    layer = LAYER.search(name)
    if layer is None:
        return OUTPUT_PROJECTION
    stack = "decoder" if graph == DECODER or "decoder/" in name else "encoder"
    part = next((part for part, pattern in PARTS.items() if pattern.search(name)), "other")
    return f"{stack}/layer {layer[1]}/{part}"


def _order(name: str) -> tuple[int, int, int]:
    if name == OUTPUT_PROJECTION:
        return 2, 0, 0
    stack, layer, part = name.split("/")
    return int(stack == "decoder"), int(layer.removeprefix("layer ")), [*PARTS, "other"].index(part)


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
    quantizer: Quantizer, exported: Path, target: Path, in_float: Collection[Group], vocabulary: int
) -> None:
    """Quantizes both graphs and saves them in a new folder.

    Args:
        quantizer: of the scheme.
        exported: the folder of the fp32 graphs.
        target: the folder to create.
        in_float: groups that stay in float. With the output projection, the embedding does too.
        vocabulary: the embedding's rows.
    """
    graphs = {target / name: quantizer.quantize(exported / name, names_in(name, in_float)) for name in GRAPHS}
    target.mkdir()
    if any(group.name == OUTPUT_PROJECTION for group in in_float):
        share_embeddings(graphs, vocabulary, exported)
        for path, model in graphs.items():
            save_whole(model, path, exported)
    else:
        quantizer.save(graphs, vocabulary, exported)


def names_in(graph: str, groups: Collection[Group]) -> list[str]:
    """Returns the matmuls of some groups that are in one graph."""
    return [name for group in groups for name in group.matmuls.get(graph, ())]
