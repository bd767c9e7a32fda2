"""Runs exported graphs over rows of any age: encoders in chunks, decoders step by step, caches in place."""
