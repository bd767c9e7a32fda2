"""`python -m slimseq.app.healthcheck`: exits with 0 if the service on this machine is ready. For containers.

It is a command of its own because some container engines split the arguments of a health check at spaces.
"""

import sys
import urllib.error
import urllib.request

from pydantic import ValidationError

from slimseq.app.settings import Settings

TIMEOUT_SECONDS = 2


def main() -> int:
    """Requests `GET /readyz` on the port of the settings, and returns the exit code."""
    try:
        address = f"http://127.0.0.1:{Settings().port}/readyz"
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS):
            return 0
    except (urllib.error.URLError, TimeoutError) as error:
        sys.stderr.write(f"not ready: {error}\n")
    except ValidationError as error:
        from slimseq.app.http.problems import describe

        sys.stderr.write(f"not ready: SLIMSEQ_* settings: {describe(error.errors())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
