"""Builds what a recipe describes: what is missing or stale, one step after the other, resumable."""
