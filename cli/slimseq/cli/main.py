"""`slimseq VERB`: `serve` and `deploy`, and the verbs of the offline side."""

from slimseq.compression.__main__ import main as run

SERVE = ("Serve", "slimseq.cli.serve:serve", "Serve the variants of a store over HTTP.")
DEPLOY = ("Serve", "slimseq.cli.deploy:deploy", "Write the file that serves a store on a cluster.")


def main() -> None:
    """Runs the command line."""
    run({"serve": SERVE, "deploy": DEPLOY})
