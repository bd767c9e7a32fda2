"""How an ONNX scheme rounds the two graphs of a model, and what is saved where some groups stay in float."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from onnx import ModelProto

from slimseq.compression.quantize.float_embedding import share_embeddings
from slimseq.compression.quantize.groups import OUTPUT_PROJECTION, Group
from slimseq.inference.graphs.external import save_whole
from slimseq.inference.graphs.names import DECODER, ENCODER

GRAPHS = (ENCODER, DECODER)


class Quantizer(Protocol):
    """Rounds the two exported graphs of one model."""

    def round(self, path: Path, in_float: Collection[str]) -> ModelProto:
        """Returns a graph with its products by constant matrices rounded, but for those named.

        Args:
            path: the fp32 graph; its name says which of the two it is.
            in_float: names of `MatMul` nodes that stay as they are.

        Returns:
            The graph; tensors that were not rounded may still be in the data file beside the fp32 graph.
        """

    def save(self, graphs: dict[Path, ModelProto], vocabulary: int, exported: Path) -> None:
        """Rounds the embedding, stores it once for all graphs, and saves the graphs.

        Args:
            graphs: rounded graphs by the path to save to, all in one folder. Changed in place.
            vocabulary: the embedding's rows.
            exported: the folder of the fp32 graphs.
        """


def save_quantized(
    quantizer: Quantizer, exported: Path, target: Path, in_float: Collection[Group], vocabulary: int
) -> None:
    """Rounds both graphs and saves them in a new folder, the embedding in float where the output projection is.

    Args:
        quantizer: the scheme's.
        exported: the folder of the fp32 graphs.
        target: the folder to make.
        in_float: groups that stay as they are.
        vocabulary: the embedding's rows.
    """
    graphs = {target / name: quantizer.round(exported / name, names_in(name, in_float)) for name in GRAPHS}
    target.mkdir()
    if any(group.name == OUTPUT_PROJECTION for group in in_float):
        share_embeddings(graphs, vocabulary, exported)
        for path, model in graphs.items():
            save_whole(model, path, exported)
    else:
        quantizer.save(graphs, vocabulary, exported)


def names_in(graph: str, groups: Collection[Group]) -> list[str]:
    """Returns the names of those products of some groups that are in one graph."""
    return [name for group in groups for name in group.products.get(graph, ())]
