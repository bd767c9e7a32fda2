"""Quantization: one module a scheme (`quantize_options` says what a scheme has), listed in `quantize.SCHEMES`."""
