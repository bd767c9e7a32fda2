"""Which variant answers a request, and which runtime opens it."""
