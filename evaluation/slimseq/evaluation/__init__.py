"""Metrics, data sets, and the measurement of quality, latency and memory, for `app` and `compression`."""

import slimseq.models_store.no_telemetry  # noqa: F401  Before any library is imported.
