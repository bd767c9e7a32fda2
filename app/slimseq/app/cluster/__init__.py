"""The service on Ray Serve: what a replica is, and the config of it."""
