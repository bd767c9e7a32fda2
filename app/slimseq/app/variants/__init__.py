"""The variants that are served: lists, loading, and what is measured of them."""
