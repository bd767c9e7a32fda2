"""The start of the service, in a process of its own."""

import subprocess
import sys

from slimseq.models_store.store import Store

# Starts the service, and prints, in place of serving, the number of objects that a full garbage collection visits.
COUNT_COLLECTED_OBJECTS = """
import gc, sys
from slimseq.app import __main__ as program
from slimseq.app.http import server
from slimseq.app.settings import Settings
server.serve = lambda app, settings: print(len(gc.get_objects())) or 0
sys.exit(program.main(Settings(store=sys.argv[1], port=0)))
"""


def test_a_garbage_collection_while_serving_passes_over_what_the_start_made(embedded: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_COLLECTED_OBJECTS, str(embedded.root)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    # The start makes more than 100,000 objects. They are frozen, so that a collection does not visit them.
    assert int(done.stdout) < 5_000
