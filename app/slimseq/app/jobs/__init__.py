"""Work that outlives a request: quality evaluations."""
