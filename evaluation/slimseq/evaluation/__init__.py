"""Metrics, data sets, and the measurement of quality, latency and memory, for `app` and `compression`."""
