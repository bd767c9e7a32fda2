"""Measures variants offline: quality, speed, and the fastest layout of workers and threads."""
