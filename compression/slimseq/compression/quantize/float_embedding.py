"""Stores a model's float embedding once for all graphs that read it, the tied output projection among them."""

from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto

from slimseq.compression.quantize.embedding import SHARED_DATA, Floats, embeddings_of, key_of, read_transposed
from slimseq.inference.graphs.external import array_of, move_out


def share_embeddings(graphs: dict[Path, ModelProto], vocabulary: int, exported: Path) -> None:
    """Moves the embeddings of some graphs into one data file, each different one once. The graphs are not saved.

    Args:
        graphs: the graphs by the path they will be saved to; all in one folder. Changed in place.
        vocabulary: rows of an embedding; other lookups (positions) stay where they are.
        exported: the folder of the fp32 graphs, in whose data file tables may still be.
    """
    places: dict[bytes, tuple[int, int]] = {}
    offset = 0
    with (next(iter(graphs)).parent / SHARED_DATA).open("wb") as data:
        for model in graphs.values():
            for initializer in embeddings_of(model.graph, vocabulary):
                floats: Floats = array_of(initializer, exported)
                key = key_of(floats)
                if key not in places:
                    places[key] = (offset, floats.nbytes)
                    offset += data.write(floats.tobytes())
                projection = _projection_of(model.graph, floats, exported)
                if projection is not None:
                    read_transposed(model.graph, projection, initializer.name)
                move_out(initializer, TensorProto.FLOAT, floats.shape, SHARED_DATA, *places[key])


def _projection_of(graph: GraphProto, floats: Floats, exported: Path) -> TensorProto | None:
    """Returns the output projection's matrix where it is the same as the embedding's."""
    initializer: TensorProto
    for initializer in graph.initializer:
        is_candidate = initializer.data_type == TensorProto.FLOAT and list(initializer.dims) == [*floats.shape[::-1]]
        if is_candidate and np.array_equal(array_of(initializer, exported).T, floats):
            return initializer
    return None
