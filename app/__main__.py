"""Runs the service: `python -m app`, with settings from `SLIMSEQ_*`."""

import sys

import uvicorn
from pydantic import ValidationError

from app.logs import configure_logging
from app.main import create_app
from app.problems import describe
from app.settings import Settings
from evaluation.host import available_cores, give_back_when_freed, limit_arenas
from models_store.errors import SlimseqError

# More heaps than this hold back more of an unloaded variant's memory than they save in waiting.
MOST_ARENAS = 4
# Caches of rows in flight are larger, what a step frees is less: neither is asked of the system at every step.
LARGE_BYTES = 4 * 2**20
KEPT_BYTES = 8 * 2**20


def main() -> int:
    """Serves until it is stopped.

    Returns:
        0 after a clean stop, 1 after one line that says why nothing can be served.
    """
    limit_arenas(min(available_cores(), MOST_ARENAS))
    give_back_when_freed(LARGE_BYTES, KEPT_BYTES)
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        sys.stderr.write(f"SLIMSEQ_* settings: {describe(error.errors())}\n")
        return 1
    except SlimseqError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    configure_logging(settings.log_level)
    try:
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        )
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
