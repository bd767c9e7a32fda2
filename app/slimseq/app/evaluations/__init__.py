"""Evaluations: their rows, the queue, and the process that runs them."""
