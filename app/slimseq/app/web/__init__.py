"""The page at `/` and the self-hosted `/docs`: static files, and the libraries that they use."""
