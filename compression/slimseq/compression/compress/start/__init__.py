"""What a run begins with: the source, the data and the checks."""
