"""What a model family is made of: names of tensors, switches and configuration."""
