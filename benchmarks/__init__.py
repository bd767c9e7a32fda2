"""Measurements of Slimseq, as commands: `python -m benchmarks.NAME --help`.

A command is a module of this folder. `loads`, `systems` and `texts` have what several of them need, or what is long.
"""
