"""The limit of file descriptors, of which each connection takes one: raised as far as needed and allowed.

Without a descriptor no connection can be accepted, so that the limit of connections would protect nothing where it is
the higher one.
"""

import resource

# For everything but connections. A service with all fifteen embedded variants, an evaluation, shadowing and clients
# takes 58 (measured).
RESERVED = 128


def allow_connections(wanted: int) -> int:
    """Raises the limit of this process, if it has to and may. Returns how many connections can be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    # Where there are very few, half of them are for connections.
    return min(wanted, max(soft - RESERVED, soft // 2))
