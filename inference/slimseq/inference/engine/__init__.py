"""Runs the exported graphs with continuous batching: encoder in chunks, decoder step by step, caches in place."""
