"""`python -m tests.service.traced_request`: serves, and prints which of our files a warm `POST /translate` runs.

They come in the order of their first calls. What only some of several requests run is left out: it is the work of a
timer.

The service is the real one, in this process: the event loop on the main thread, one client on a thread of its own.
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

WARM_UP, TRACED = 2, 5

# By file, the traced requests that ran it.
found: dict[str, set[int]] = {}
traced = 0


def record(frame: FrameType, event: str, _argument: Any) -> None:
    """Keeps the file of each function of ours that is called while a request is traced."""
    if event == "call" and traced:
        code = frame.f_code
        # Reading a module is no part of a request.
        if code.co_filename.startswith(ROOMS) and code.co_name != "<module>":
            found.setdefault(code.co_filename.removeprefix(f"{ROOT}/"), set()).add(traced)


def request() -> None:
    """Sends one request and waits for the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["SLIMSEQ_PORT"]), timeout=60)
    connection.request("POST", "/translate", json.dumps(BODY), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()


def trace() -> None:
    """Traces requests once the service is warm, and stops it."""
    global traced
    while True:
        with contextlib.suppress(ConnectionError, AssertionError):
            request()
            break
        time.sleep(0.1)
    for number in range(WARM_UP + TRACED):
        traced = max(number + 1 - WARM_UP, 0)
        request()
    traced = 0
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.setprofile(record)
    sys.setprofile(record)
    threading.Thread(target=trace, daemon=True).start()
    code = main()
    sys.setprofile(None)
    # The line of the last request may be logged too late.
    sys.stdout.write("\n".join(name for name, requests in found.items() if len(requests) >= TRACED - 1) + "\n")
    sys.exit(code)
