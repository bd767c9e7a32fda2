"""The lock of a store that this process may read and not write."""

import subprocess
import sys
from pathlib import Path

import pytest

# Root, too, is refused where a folder's mode says so.
NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
LOCK = """
import sys
from pathlib import Path
from slimseq.models_store.locks import store_lock

with store_lock(Path(sys.argv[1])):
    print("held")
"""


def test_a_store_without_a_lock_file_that_may_not_be_written_is_refused_for_its_permissions(tmp_path: Path) -> None:
    if subprocess.run([*NO_OVERRIDE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process here gives up the rights of root")
    tmp_path.chmod(0o555)

    done = subprocess.run(
        [*NO_OVERRIDE, sys.executable, "-c", LOCK, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("PermissionError")
    assert "held" not in done.stdout
