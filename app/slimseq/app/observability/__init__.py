"""Logs, metrics and latency."""
