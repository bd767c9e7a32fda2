"""Importing a model from a folder or a hub as an artifact."""
