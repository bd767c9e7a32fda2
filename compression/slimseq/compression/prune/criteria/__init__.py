"""What makes a part important: one criterion a file, each a `Criterion`."""
