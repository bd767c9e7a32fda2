"""From a request to its response: selection of a variant, loading, batching, and assembly of the text."""
