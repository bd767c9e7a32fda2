"""Artifacts of the store as techniques see them: what one starts from, what it publishes, model cards, copies."""
