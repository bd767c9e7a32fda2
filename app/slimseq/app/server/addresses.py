"""The addresses that a server listens on."""

import os
import socket

BACKLOG = 2048  # uvicorn's


def listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens on an address.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def why_not_listening(host: str, port: int) -> str | None:
    """Returns why an address cannot be used, before any model is loaded. None if it can."""
    try:
        listening(host, port).close()
    except OSError as error:
        # `create_server` adds the address to the message; the errors of name resolution have negative numbers.
        number = error.errno or 0
        return os.strerror(number) if number > 0 else str(error.strerror or error)
    return None
