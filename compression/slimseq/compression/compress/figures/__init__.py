"""The figures of a run, as SVG."""
