"""`serve`: the service, with every setting as an option. The settings are declared in `slimseq.app.settings`."""

import re
import sys
from typing import Annotated

from cyclopts import Parameter

from slimseq.app.settings import Settings

# A secret on a command line is seen by all users of the machine; a list of pairs is no option.
NOT_OPTIONS = ("admin_token", "limits_url", "preload")


def serve(
    *,
    settings: Annotated[
        Settings | None, Parameter(name="*", negative="", parse=re.compile(f"^(?!({'|'.join(NOT_OPTIONS)})$)"))
    ] = None,
) -> None:
    """Serve the variants of a store over HTTP, on http://127.0.0.1:8000 by default.

    Every option is also an environment variable: `--max-texts` is `SLIMSEQ_MAX_TEXTS`. An option has precedence.
    `SLIMSEQ_ADMIN_TOKEN`, `SLIMSEQ_LIMITS_URL` and `SLIMSEQ_PRELOAD` are environment variables only.
    """
    from slimseq.app.__main__ import main

    sys.exit(main(settings))
