"""Text in, text out: model families, graphs, the engine, decoding, runtimes, and the Python API: `load`, `pipeline`."""

from slimseq.inference.load import Model, load
from slimseq.inference.pipeline import Pipeline, pipeline

__all__ = ["Model", "Pipeline", "load", "pipeline"]
