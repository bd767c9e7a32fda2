"""Request and response bodies, one file for each group of endpoints."""
