"""Runs the service: `python -m app`, with settings from `SLIMSEQ_*`."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from app.logs import configure_logging
from app.main import create_app
from app.problems import describe
from app.settings import Settings
from evaluation.host import bound_heaps
from models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


def main() -> int:
    """Serves until it is stopped.

    Returns:
        0 after a clean stop, 1 after one line that says why nothing can be served.
    """
    bound_heaps()
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
    if "store" not in settings.model_fields_set:
        logger.info("no SLIMSEQ_STORE is set", extra={"store": str(settings.store)})
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
