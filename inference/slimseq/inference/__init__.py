"""Text in, text out: model families, graphs, the engine, decoding, runtimes, and the Python API: `load`, `pipeline`."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
from slimseq.inference.load import Model, load
from slimseq.inference.pipeline import Pipeline, pipeline

__all__ = ["Model", "Pipeline", "load", "pipeline"]
