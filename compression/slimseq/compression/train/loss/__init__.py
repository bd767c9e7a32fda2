"""The loss of a training run: its parts, and how they are weighed."""
