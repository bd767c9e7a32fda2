"""Search over next-token scores in numpy: what each row takes next, and when an input has ended."""
