"""Quantization: one module a scheme (`options` says what it has), listed in `quantize.SCHEMES`."""
