"""ASGI layers around every route, outermost first: request id, observation, failure, body, disconnect."""
