"""Raises the process's limit of file descriptors, so that the limit of connections can be reached.

Each connection takes a descriptor, and without one no connection can be accepted. If the limit of descriptors were the
lower one, the service could not choose which connection to close.
"""

import resource

# For everything but connections. A service with all fifteen embedded variants, an evaluation, shadowing and clients
# takes 58 (measured).
RESERVED = 128


def allow_connections(wanted: int) -> int:
    """Raises the limit for the `wanted` connections, as far as allowed. Returns how many can be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    # Of very few descriptors, half are for connections.
    return min(wanted, max(soft - RESERVED, soft // 2))
