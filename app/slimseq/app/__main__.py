"""Runs the service: `slimseq serve`, with settings from `SLIMSEQ_*`."""

import gc
import logging
import os
import socket
import sys

from pydantic import ValidationError

from slimseq.app.http.validation import describe
from slimseq.app.main import create_app
from slimseq.app.observability.logs import configure_logging
from slimseq.app.server.server import STARTUP_FAILED, serve
from slimseq.app.settings import Settings
from slimseq.evaluation.host import bound_heaps
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


def main(settings: Settings | None = None) -> int:
    """Serves until a signal stops it.

    Args:
        settings: what to serve and how; None reads `SLIMSEQ_*` from the environment.

    Returns:
        0 after a clean stop, 1 with an error message if nothing can be served, 3 if the address cannot be used.
    """
    bound_heaps()
    try:
        settings = settings or Settings()
        app = create_app(settings)
    except ValidationError as error:
        sys.stderr.write(f"error: SLIMSEQ_* settings: {describe(error.errors())}\n")
        return 1
    except SlimseqError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if reason := _why_not_listening(settings.host, settings.port):
        place = f"{settings.host}:{settings.port}"
        sys.stderr.write(f"error: {place}: {reason}; choose another --port or --host (SLIMSEQ_PORT, SLIMSEQ_HOST)\n")
        return STARTUP_FAILED
    configure_logging(settings.log_level)
    if "store" not in settings.model_fields_set:
        logger.info("no SLIMSEQ_STORE is set", extra={"store": str(settings.store)})
    # What exists by now lives as long as the process. To visit it, a full garbage collection would hold the event loop
    # for 100 ms.
    gc.freeze()
    try:
        return serve(app, settings)
    except KeyboardInterrupt:
        return 0


def _why_not_listening(host: str, port: int) -> str | None:
    """Returns why an address cannot be used, before any model is loaded. None if it can."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # `create_server` adds the address to the message; the errors of name resolution have negative numbers.
        number = error.errno or 0
        return os.strerror(number) if number > 0 else str(error.strerror or error)
    return None


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("error: python -m slimseq.app has no options: set SLIMSEQ_* variables, or see `slimseq serve --help`")
    sys.exit(main())
