"""`python -m compression`. Ctrl-C at any moment, while libraries are imported too, ends it with one line."""

import os
import signal
import sys

if __name__ == "__main__":
    try:
        from compression.cli import main

        main()
    except KeyboardInterrupt:
        # Nothing is left to be interrupted: what was being written has been given up already.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.write("stopped; nothing was left half-written\n")
        sys.stderr.flush()
        # Not `sys.exit`: where an `exec` was interrupted, the interpreter would then kill itself with the signal.
        os._exit(130)
