"""What the service shows of itself: logs, metrics, latency and memory."""
