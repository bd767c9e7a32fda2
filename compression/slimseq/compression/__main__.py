"""`python -m slimseq.compression`. Ctrl-C at any moment, while libraries are imported too, ends it with one line."""

import os
import signal
import sys
from collections.abc import Mapping


def main(more_verbs: Mapping[str, tuple[str, str, str]] | None = None) -> None:
    """Runs the command line of the offline side.

    Args:
        more_verbs: verbs beside its own, each with its group, its function and its line in the overview.
    """
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


if __name__ == "__main__":
    main()
