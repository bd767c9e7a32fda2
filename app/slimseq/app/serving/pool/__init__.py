"""The variants in memory: loading, eviction, readiness."""
