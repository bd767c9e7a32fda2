"""Tests that may be looked at any time: confidence sequences, and the gate that ends as soon as it has decided."""
