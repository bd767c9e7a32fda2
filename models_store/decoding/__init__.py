"""Search over next-token scores in numpy, for runtimes that compute scores and no more."""
