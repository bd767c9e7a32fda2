"""ASGI middleware around the router, outermost first: request id, observation, failure, body, disconnect."""
