"""Measurements of Slimseq, as commands: `python -m benchmarks.NAME --help`."""
