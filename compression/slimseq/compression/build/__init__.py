"""Builds the variants of a recipe: runs missing and outdated steps, and resumes after an interruption."""
