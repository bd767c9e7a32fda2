"""What may be wrong with an output: pure functions from a source and its output to warnings. `checks` runs them all."""
