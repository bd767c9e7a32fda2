"""What may be wrong with an output: pure functions from a source and its output to warnings.

A file is a check. `checks` runs them all. The service attaches the warnings to its answers.
"""
