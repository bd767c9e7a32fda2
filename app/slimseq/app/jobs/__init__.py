"""Quality evaluations, which run longer than a request."""
