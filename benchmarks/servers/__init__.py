"""The servers that `benchmarks.serving` compares, each a process of its own."""
