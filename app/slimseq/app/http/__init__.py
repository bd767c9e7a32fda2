"""Transport: the server, the middleware, problems, keys and their limits, and what all routes share."""
