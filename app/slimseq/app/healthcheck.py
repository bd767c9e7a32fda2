"""`python -m slimseq.app.healthcheck`: exits with 0 if the service on this machine is ready. For containers.

It is a command of its own because some container engines split the arguments of a health check at spaces.
"""

import os
import sys
import urllib.request

# Below the timeout that container engines give a health check, so that the reason is shown.
TIMEOUT_SECONDS = 2

if __name__ == "__main__":
    try:
        address = f"http://127.0.0.1:{os.environ.get('SLIMSEQ_PORT', '8000')}/readyz"
        urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        sys.exit(f"not ready: {error}")
