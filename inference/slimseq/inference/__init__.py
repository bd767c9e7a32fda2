"""Text in, text out: model families, graphs, the engine, decoding, runtimes, and the Python API `load`."""

from slimseq.inference.load import Model, load

__all__ = ["Model", "load"]
