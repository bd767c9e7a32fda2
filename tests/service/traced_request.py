"""`python -m tests.service.traced_request`: prints which files of Slimseq a `POST /translate` runs, in their order.

It runs the real service in this process, on the main thread, and a client on a thread of its own. Once the service is
warm, a profile function records the files of all calls during some requests. A file that only some of the requests ran
is left out: a timer ran it. `test_one_request.py` compares the list with the document about one request.
"""

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from slimseq.app.__main__ import main

ROOT = Path(__file__).parents[2]
ROOMS = tuple(str(ROOT / room) + "/" for room in ("app", "evaluation", "inference", "models_store"))
BODY = {"text": "The train leaves at 9:30. The children are playing in the garden."}

WARM_UP_REQUESTS, TRACED_REQUESTS = 2, 5

# The numbers of the traced requests that ran each file.
requests_by_file: dict[str, set[int]] = {}
# The number of the request that is traced now, from 1 on. 0 means that none is.
traced_request = 0


def record(frame: FrameType, event: str, _argument: Any) -> None:
    """A profile function: keeps the file of each call of Slimseq's own code while a request is traced."""
    if event == "call" and traced_request:
        code = frame.f_code
        # The import of a module is no part of a request.
        if code.co_filename.startswith(ROOMS) and code.co_name != "<module>":
            file = code.co_filename.removeprefix(f"{ROOT}/")
            requests_by_file.setdefault(file, set()).add(traced_request)


def request() -> None:
    """Sends one request and waits for the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["SLIMSEQ_PORT"]), timeout=60)
    connection.request("POST", "/translate", json.dumps(BODY), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()


def trace() -> None:
    """Waits for the service, sends requests to warm it up, traces some more, and stops the service."""
    global traced_request
    while True:
        with contextlib.suppress(ConnectionError, AssertionError):
            request()
            break
        time.sleep(0.1)
    for number in range(WARM_UP_REQUESTS + TRACED_REQUESTS):
        traced_request = max(number + 1 - WARM_UP_REQUESTS, 0)
        request()
    traced_request = 0
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.setprofile(record)
    sys.setprofile(record)
    threading.Thread(target=trace, daemon=True).start()
    code = main()
    sys.setprofile(None)
    # The last request may be missing for a file: its log line may be written after the tracing has ended.
    names = [name for name, requests in requests_by_file.items() if len(requests) >= TRACED_REQUESTS - 1]
    sys.stdout.write("\n".join(names) + "\n")
    sys.exit(code)
