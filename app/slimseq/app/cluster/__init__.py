"""The service on Ray Serve: what a replica is, how requests find one, when there are more, and the config of it."""
