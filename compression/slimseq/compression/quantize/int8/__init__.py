"""Rewrites float graphs to int8 ones: matrix products, embeddings, and the scales of activations."""
