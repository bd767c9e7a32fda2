"""`slimseq VERB`: `serve`, `deploy` and `keys`, and the verbs of the offline side."""

import sys

from slimseq.app.server.early_stop import stop_at_once
from slimseq.compression.__main__ import main as run

VERBS = {
    "serve": ("Serve", "slimseq.cli.serve:serve", "Serve the variants of a store over HTTP."),
    "deploy": ("Serve", "slimseq.cli.deploy:deploy", "Write the file that serves a store on a cluster."),
    "keys": ("Serve", "slimseq.cli.keys:app", "Manage the keys of clients: add, list, revoke."),
}


def main() -> None:
    """Runs the command line."""
    if sys.argv[1:2] == ["serve"]:
        stop_at_once()
    run(VERBS)
