"""Metrics, data sets, and the measurement of quality, latency and memory, for the pipeline and the service alike."""
