"""Runs the service: `slimseq serve`, with settings from `SLIMSEQ_*`."""

import logging
import sys

from pydantic import ValidationError

from slimseq.app.http.validation import describe
from slimseq.app.main import create_app
from slimseq.app.observability.logs import configure_logging
from slimseq.app.server.server import serve
from slimseq.app.settings import Settings
from slimseq.evaluation.host import bound_heaps
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


def main(settings: Settings | None = None) -> int:
    """Serves until a signal stops it.

    Args:
        settings: what to serve and how; None reads `SLIMSEQ_*` from the environment.

    Returns:
        0 after a clean stop, 1 with an error message if nothing can be served, 3 if the port is in use.
    """
    bound_heaps()
    try:
        settings = settings or Settings()
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
        return serve(app, settings)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
