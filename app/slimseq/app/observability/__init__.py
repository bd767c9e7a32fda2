"""Logs, metrics, latencies, agreement and traces."""
