"""Temporary folders that this test process and the services that it starts share."""

import tempfile
from pathlib import Path

# The state folder of services that tests start (their databases), in the place of the developer's own.
STATE = tempfile.TemporaryDirectory(prefix="slimseq-state-")
# A copy of the embedded store without the translator to Portuguese. Tests are about the German one, unless they say
# otherwise. The fixture `embedded` makes the copy.
ONE_TRANSLATOR = Path(STATE.name, "embedded")
