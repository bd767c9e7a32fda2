"""Texts that are made by rule, and what should be in their translations."""
