"""Exports a model's two graphs and writes them quantized."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import ModelProto

from slimseq.compression.quantize.int8.candidate_columns import add_candidate_columns
from slimseq.compression.quantize.int8.embedding import quantize_embeddings
from slimseq.compression.quantize.quantize_options import QuantizationRun
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache, float_cross_attention_cache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.split_projection import split_projection
from slimseq.inference.graphs.tensor_names import DECODER, ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.shortlist import SHORTLIST

# Quantizes the constant matmuls of a graph, given its file, `encoder.onnx` or `decoder.onnx`. Float tensors of the
# result may still be in the data file of the fp32 graph.
Quantizer = Callable[[Path], ModelProto]


def write_graphs(
    run: QuantizationRun,
    folder: Path,
    make_quantizer: Callable[[Path], Quantizer],
    cross_attention: CrossAttentionCache | None = None,
) -> None:
    """Exports a model, quantizes both graphs and their embedding, and writes `onnx/` in an artifact's folder.

    Args:
        run: the artifact to quantize.
        folder: of the new artifact.
        make_quantizer: makes the scheme's quantizer, given the folder of the fp32 graphs.
        cross_attention: form of the cross-attention cache. By default it is float.

    Raises:
        BadSource: the model cannot be exported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported, target = Path(scratch) / "exported", folder / "onnx"
        run.report_status("exporting to ONNX")
        cache = cross_attention or float_cross_attention_cache(run.parent.task)
        export_onnx(run.source, exported, cache, is_projection_shared=False)
        quantize = make_quantizer(exported)
        run.report_status("quantizing matrices and embeddings")
        graphs = {target / name: quantize(exported / name) for name in (ENCODER, DECODER)}
        target.mkdir()
        configuration = read_configuration(run.source)
        sizes = {configuration.vocabulary, configuration.source_vocabulary or configuration.vocabulary}
        quantize_embeddings(graphs, sizes, exported)
        if (run.source / SHORTLIST).exists():
            add_candidate_columns(target)
            return
        decoder = onnx.load(target / DECODER, load_external_data=False)
        if split_projection(decoder):
            onnx.save(decoder, str(target / DECODER))
