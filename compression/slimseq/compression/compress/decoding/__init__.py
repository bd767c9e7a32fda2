"""Which search settings a model needs."""
