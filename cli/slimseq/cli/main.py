"""`slimseq VERB`: hands `serve` to the service, and every other verb to the offline side."""

import sys


def main() -> None:
    """Runs the command line."""
    if sys.argv[1:2] == ["serve"]:
        from slimseq.app.__main__ import main as serve

        sys.exit(serve())
    from slimseq.compression.__main__ import main as compress

    compress()
