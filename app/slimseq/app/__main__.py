"""Runs the service: `slimseq serve`, with settings from `SLIMSEQ_*`.

`main` imports the other packages only after it has installed the handlers of signals. The imports take seconds, and a
signal in this time should end the process without a traceback.
"""

import logging
import sys
from typing import TYPE_CHECKING

from slimseq.app.http.stopping import exit_on_signals_while_starting

if TYPE_CHECKING:
    from slimseq.app.settings import Settings

logger = logging.getLogger(__name__)


def main(settings: "Settings | None" = None) -> int:
    """Serves until a signal stops it. Returns the exit code: 1 if nothing can be served, 3 for an unusable address."""
    exit_on_signals_while_starting()
    from pydantic import ValidationError

    from slimseq.app.failures import switch_off_backtraces
    from slimseq.app.http.descriptors import allow_connections
    from slimseq.app.http.problems import describe
    from slimseq.app.http.server import STARTUP_FAILED, serve, why_not_listening
    from slimseq.app.main import create_app
    from slimseq.app.observability.logs import configure_logging
    from slimseq.app.serving.heap import bound_heaps, collect_when_idle
    from slimseq.app.settings import Settings
    from slimseq.models_store.errors import SlimseqError

    bound_heaps()
    switch_off_backtraces()
    try:
        settings = settings or Settings()
        wanted_connections = settings.max_connections
        # As many as the limit of file descriptors allows.
        settings = settings.model_copy(update={"max_connections": allow_connections(wanted_connections)})
        hidden_folders = [settings.store]
        if settings.keys_file:
            hidden_folders.append(settings.keys_file.parent)
        # Before the store is read for the first time: what is logged of it should have its reason.
        configure_logging(settings.log_level, hidden_folders)
        app = create_app(settings)
    except ValidationError as error:
        sys.stderr.write(f"error: SLIMSEQ_* settings: {describe(error.errors())}\n")
        return 1
    except SlimseqError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1

    reason = why_not_listening(settings.host, settings.port)
    if reason:
        options = f"--port or --host (SLIMSEQ_PORT, SLIMSEQ_HOST), or make run PORT={settings.port + 1}"
        sys.stderr.write(f"error: {settings.host}:{settings.port}: {reason}; choose another: {options}\n")
        return STARTUP_FAILED
    # The folder of the store is shown here, and hidden from all other lines of the log.
    logger.info("serving", extra={"store": str(settings.store.absolute())})
    if settings.max_connections < wanted_connections:
        logger.warning(
            "fewer connections are allowed than SLIMSEQ_MAX_CONNECTIONS: file descriptors are too few (ulimit -n)",
            extra={"connections": settings.max_connections, "setting": wanted_connections},
        )
    if settings.keys_file is None and settings.allow_no_keys:
        logger.warning("requests need no key: whoever reaches this address can use the service")

    collect_when_idle()
    try:
        return serve(app, settings)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("error: python -m slimseq.app has no options: set SLIMSEQ_* variables, or see `slimseq serve --help`")
    sys.exit(main())
