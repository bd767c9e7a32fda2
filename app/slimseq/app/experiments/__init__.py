"""Experiments: arms, the responses that they get, feedback, and what they have shown."""
