"""Tests whose result is valid at any time at which somebody looks: confidence sequences."""
