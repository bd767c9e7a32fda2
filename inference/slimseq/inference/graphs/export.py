"""Exports a model to ONNX: the two graphs that our engine runs, and one file with the weights of both.

`encoder.onnx` maps ids and mask to the cross-attention keys and values of every decoder layer. `decoder.onnx` maps one
token a row and all caches to logits, best tokens and updated caches. So the cross-attention cache is computed once an
input, and the graphs share no weights except the embedding, which is stored once.

The graphs are built from the configuration and the weights, one tensor in memory at a time.
`slimseq.compression.export.optimum_onnx` traces them instead.
"""

from pathlib import Path

import onnx

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache
from slimseq.inference.graphs.encoder_decoder import EncoderDecoderGraphs
from slimseq.inference.graphs.external import DataFile
from slimseq.inference.graphs.split_projection import split_projection
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER, WEIGHTS_DATA
from slimseq.inference.models.configuration import read_config
from slimseq.inference.models.registry import architecture_of
from slimseq.inference.models.safetensors_reader import SafetensorsReader
from slimseq.models_store.errors import BadSource


def export_onnx(
    source: Path, folder: Path, cross_attention: CrossAttentionCache, *, is_projection_shared: bool = True
) -> None:
    """Writes `encoder.onnx`, `decoder.onnx` and `weights.data`, fp32, of a model folder with safetensors.

    If `is_projection_shared`, an output projection that is tied to the embedding shares its bytes, and that of a large
    vocabulary is split. Quantizers need it as a separate matrix.

    Raises:
        BadSource: the model is of no known family, lacks a tensor, or has an activation that is not known.
    """
    weights = SafetensorsReader(source)
    try:
        architecture = architecture_of(read_config(source), weights)
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
    models = {ENCODER: encoder.model(), DECODER: decoder.model()}
    if is_projection_shared:
        split_projection(models[DECODER])
    for name, model in models.items():
        onnx.save(model, str(folder / name))
        onnx.checker.check_model(str(folder / name))
