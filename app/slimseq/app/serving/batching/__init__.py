"""The request queue of a loaded variant, and how its rows are batched."""
