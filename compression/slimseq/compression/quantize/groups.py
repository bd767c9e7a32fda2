"""Matrix products by the part of the model they belong to, such as `encoder/layer 0/feed forward`."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from slimseq.inference.graphs.names import DECODER, ENCODER

OUTPUT_PROJECTION = "embedding and output projection"
LAYER = re.compile(r"(?:block|layers)\.(\d+)/")
PARTS = {
    "self-attention": re.compile(r"/(SelfAttention|self_attn)/"),
    "cross-attention": re.compile(r"/(EncDecAttention|encoder_attn)/"),
    "feed forward": re.compile(r"/(DenseReluDense|fc[12])/"),
}


@dataclass(frozen=True)
class Group:
    """Products that are rounded or left in float together: their node names by graph file."""

    name: str
    products: Mapping[str, tuple[str, ...]]


def groups_of(exported: Path) -> list[Group]:
    """Returns the groups of a model's two graphs, in the order in which the model runs them.

    Cross-attention's keys and values are in the encoder's graph and its queries in the decoder's: one group all the
    same. Rounding the output projection means rounding the embedding, with which it shares its matrix.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for graph in (ENCODER, DECODER):
        for name in products_of(exported / graph):
            found.setdefault(_group_name(graph, name), {}).setdefault(graph, []).append(name)
    return [
        Group(name, {graph: tuple(names) for graph, names in products.items()})
        for name, products in sorted(found.items(), key=lambda item: _order(item[0]))
    ]


def products_of(path: Path) -> list[str]:
    """Returns the names of a graph's products by constant matrices."""
    return products_in(onnx.load(path, load_external_data=False).graph)


def products_in(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of products by constant matrices."""
    constants = {initializer.name for initializer in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def inputs_of(path: Path, products: Collection[str]) -> set[str]:
    """Returns the names of what some products of a graph multiply with their matrices."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return {node.input[0] for node in nodes if node.name in products}


def is_output_projection(name: str) -> bool:
    """Whether a product is the one behind the last layer."""
    return LAYER.search(name) is None


def searched_name(graph: str, name: str) -> str:
    """Returns a product's name with its stack before it: the encoder's nodes do not say that they are the encoder's."""
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
