"""The offline pipeline: turns one original T5 or BART into pruned, quantized and distilled artifacts."""
