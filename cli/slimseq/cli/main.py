"""`slimseq VERB`: `serve`, and the verbs of the offline side."""

from slimseq.compression.__main__ import main as run

SERVE = ("Serve", "slimseq.cli.serve:serve", "Serve the variants of a store over HTTP.")


def main() -> None:
    """Runs the command line."""
    run({"serve": SERVE})
