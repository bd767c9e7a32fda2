"""Folders of this test process."""

import tempfile
from pathlib import Path

# Services that tests start keep their databases here, and not among the developer's.
STATE = tempfile.TemporaryDirectory(prefix="slimseq-state-")
# The embedded store without its second translator. Tests are about one translator, unless they say otherwise.
ONE_TRANSLATOR = Path(STATE.name, "embedded")
