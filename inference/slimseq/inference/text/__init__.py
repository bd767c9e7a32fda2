"""Text handling around a model, for the Python API and the service: sentences, protected spans, numbers, warnings."""
