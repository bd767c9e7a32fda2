"""The HTTP side: routes, schemas, middleware and problems."""
