"""The service: compressed variants behind HTTP, measured while they serve."""
