"""ONNX graphs made operator by operator from a model's configuration and weights, without running the model."""
