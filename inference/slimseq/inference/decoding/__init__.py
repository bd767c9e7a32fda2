"""Greedy search, beam search and sampling in numpy: choose the next token of each row and detect the end."""
