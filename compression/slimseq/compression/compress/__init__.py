"""`compress`: finds the smaller variants of a model that keep enough of its quality: what to cut, how far, and why."""
