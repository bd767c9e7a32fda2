"""The offline pipeline: turns one original T5 or BART into pruned, quantized and distilled artifacts."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
