"""`/translate`, `/summarize` and `/compare`: routes, schemas, the way of a request, streams."""
