import subprocess
import sys

from slimseq.models_store.store import Store

# What the service does before it serves, and then the number of objects that a full garbage collection visits.
STARTED = """
import gc, sys
from slimseq.app import __main__ as program
from slimseq.app.http import server
from slimseq.app.settings import Settings
server.serve = lambda app, settings: print(len(gc.get_objects())) or 0
sys.exit(program.main(Settings(store=sys.argv[1], port=0)))
"""


def test_a_garbage_collection_while_serving_passes_over_what_the_start_made(embedded: Store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(embedded.root)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    # There are more than 100,000 in all.
    assert int(done.stdout) < 5_000
