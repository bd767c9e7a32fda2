"""Exports to ONNX: the two graphs that our runtime wants, and one file with the weights of both.

`encoder.onnx` maps ids and mask to every layer's cross-attention keys and values; `decoder.onnx` maps one token a row
and all caches to logits, the best of them, and caches with that token in its place. So no weight belongs to two graphs
but the embedding, which both read from the same bytes, and cross-attention caches are computed once a request.

The graphs are made by `slimseq.inference.graphs` from the configuration and the weights, which takes little memory:
one tensor at a time. `slimseq.compression.export.optimum_onnx` has them traced instead.
"""

from pathlib import Path

import onnx

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache
from slimseq.inference.graphs.data_file import DataFile
from slimseq.inference.graphs.encoder_decoder import EncoderDecoderGraphs
from slimseq.inference.graphs.names import DECODER, ENCODER, WEIGHTS_DATA
from slimseq.inference.models.configuration import read_json
from slimseq.inference.models.registry import architecture_of
from slimseq.inference.models.weights import Weights
from slimseq.models_store.errors import BadSource


def export_onnx(
    source: Path, folder: Path, cross_attention: CrossAttentionCache, *, is_projection_shared: bool = True
) -> None:
    """Writes `encoder.onnx`, `decoder.onnx` and `weights.data`, fp32.

    Args:
        source: a Hugging Face model folder with safetensors.
        folder: where to write; made if it is missing.
        cross_attention: how the source's keys and values are kept.
        is_projection_shared: whether an output projection that is tied to the embedding reads the embedding's bytes
            transposed, so that the matrix is stored once. Quantizers want it as a matrix of its own.

    Raises:
        BadSource: the model is of no known family, lacks a tensor, or has an activation that is not known.
    """
    weights = Weights(source)
    try:
        architecture = architecture_of(read_json(source / "config.json"), weights)
    except BadSource as error:
        raise BadSource(f"{source.name}: {error}") from error
    graphs = EncoderDecoderGraphs(
        architecture, is_projection_shared=is_projection_shared, cross_attention=cross_attention
    )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / WEIGHTS_DATA).open("wb") as file:
        data = DataFile(file)
        encoder = GraphBuilder("encoder", weights, data, f"{architecture.encoder.module}.")
        graphs.add_encoder(encoder)
        decoder = GraphBuilder("decoder", weights, data)
        graphs.add_decoder(decoder)
    for builder, name in ((encoder, ENCODER), (decoder, DECODER)):
        onnx.save(builder.model(), str(folder / name))
        onnx.checker.check_model(str(folder / name))
