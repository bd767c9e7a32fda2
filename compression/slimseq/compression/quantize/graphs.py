"""What the ONNX schemes share: export, choose what stays in float, round both graphs, store the embedding once."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimseq.compression.quantize.protocol import Work
from slimseq.compression.quantize.rounding import Rounding, save_rounded
from slimseq.compression.quantize.sensitivity import Chosen, choose
from slimseq.inference.graphs.export import export_onnx
from slimseq.inference.graphs.sources import Sources, float_sources
from slimseq.inference.models.configuration import read_configuration


def write_graphs(
    work: Work, folder: Path, rounding_of: Callable[[Work, Path], Rounding], sources: Sources | None = None
) -> dict[str, Any]:
    """Exports a model and writes `onnx/` with both graphs rounded.

    Args:
        work: what to round and how.
        folder: the artifact's folder.
        rounding_of: makes the scheme's rounding, given the folder of the fp32 graphs.
        sources: how the source's keys and values are kept; none keeps floats.

    Returns:
        With a fallback, what `sensitivity.Chosen.record` returns; else nothing.

    Raises:
        BadParameters: data is needed that nobody named.
        BadSource: the model cannot be exported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported"
        work.say("exporting to ONNX")
        floats = float_sources(work.parent.task)
        export_onnx(work.source, exported, sources or floats, is_projection_shared=False)
        rounding = rounding_of(work, exported)
        chosen: Chosen | None = None
        if work.options.fallback is not None:
            reference = Path(scratch) / "reference"
            export_onnx(work.source, reference, floats)
            chosen = choose(work, exported, rounding, work.options.fallback, reference)
        work.say("rounding matrices and embeddings")
        vocabulary = read_configuration(work.source).vocabulary
        save_rounded(rounding, exported, folder / "onnx", chosen.in_float if chosen else (), vocabulary)
    return chosen.record() if chosen else {}
