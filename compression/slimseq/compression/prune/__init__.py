"""Structured pruning, one kind of part a file: each returns a smaller model that stock configuration describes."""
