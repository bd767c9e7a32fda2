"""Text in, text out: model families, graphs, the engine, decoding and runtimes."""
