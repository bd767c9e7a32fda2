"""What the ONNX schemes share: export, choose what stays in float, round both graphs, store the embedding once."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.quantizer import Quantizer, save_quantized
from slimseq.compression.quantize.sensitivity import Chosen, choose
from slimseq.inference.graphs.cross_attention_cache import CrossAttentionCache, float_cross_attention_cache
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.models.configuration import read_configuration


def write_graphs(
    work: Work,
    folder: Path,
    quantizer_of: Callable[[Work, Path], Quantizer],
    cross_attention: CrossAttentionCache | None = None,
) -> dict[str, Any]:
    """Exports a model and writes `onnx/` with both graphs rounded.

    Args:
        work: what to round and how.
        folder: the artifact's folder.
        quantizer_of: makes the scheme's rounding, given the folder of the fp32 graphs.
        cross_attention: how the source's keys and values are kept; none keeps floats.

    Returns:
        With a fallback, what `sensitivity.Chosen.record` returns; else nothing.

    Raises:
        BadParameters: data is needed that nobody named.
        BadSource: the model cannot be exported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported"
        work.say("exporting to ONNX")
        floats = float_cross_attention_cache(work.parent.task)
        export_onnx(work.source, exported, cross_attention or floats, is_projection_shared=False)
        quantizer = quantizer_of(work, exported)
        chosen: Chosen | None = None
        if work.options.fallback is not None:
            reference = Path(scratch) / "reference"
            export_onnx(work.source, reference, floats)
            chosen = choose(work, exported, quantizer, work.options.fallback, reference)
        work.say("rounding matrices and embeddings")
        vocabulary = read_configuration(work.source).vocabulary
        save_quantized(quantizer, exported, folder / "onnx", chosen.in_float if chosen else (), vocabulary)
    return chosen.record() if chosen else {}
