"""`python -m slimseq.compression`. Ctrl-C at any moment, while libraries are imported too, ends it with one line."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from importlib.machinery import ExtensionFileLoader
from types import FrameType

# Between attempts to interrupt code that cannot be interrupted.
AGAIN_SECONDS = 0.02
INITIALIZING = (ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__)


def main(more_verbs: Mapping[str, tuple[str, str, str]] | None = None) -> None:
    """Runs the command line of the offline side.

    Args:
        more_verbs: verbs beside its own, each with its group, its function and its line in the overview.
    """
    # Otherwise somebody has chosen what to do: a shell that runs commands in the background, or the service.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from slimseq.compression.cli import run

        run(more_verbs=more_verbs)
    except KeyboardInterrupt:
        # Nothing is left to be interrupted: what was being written has been given up already.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.write("stopped; nothing was left half-written\n")
        sys.stderr.flush()
        # Not `sys.exit`: where an `exec` was interrupted, the interpreter would then kill itself with the signal.
        os._exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, but not in Python code that the initialization of an extension module runs.

    C++ code there reports another error, or may end the process: that of ONNX Runtime imports NumPy.
    """
    while frame is not None:
        if frame.f_code in INITIALIZING:
            again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
