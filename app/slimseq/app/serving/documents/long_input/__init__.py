"""A document above the context window: its topics, and what a model reads of each."""
