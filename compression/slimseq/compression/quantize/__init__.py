"""Quantization: one module a scheme (`scheme.Scheme`), listed in `quantize.SCHEMES`."""
