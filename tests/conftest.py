"""What every room's tests share: the embedded artifacts, built once, and copies of them to break."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

# Tiny models gain nothing from several threads of PyTorch, which wait for each other where cores are busy: many times
# as long. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that runs the tests in the background has them ignore SIGINT, and so all commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


COMPRESSION_TESTS = Path(__file__).parent / "compression"
LIBRARIES = re.compile(r"\b(torch|transformers|optimum)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make test-transformers4` runs: tests of the offline side, and others that name its libraries."""
    marked = {
        path: path.is_relative_to(COMPRESSION_TESTS) or LIBRARIES.search(path.read_text(encoding="utf-8"))
        for path in {item.path for item in items}
    }
    for item in items:
        if marked[item.path]:
            item.add_marker(pytest.mark.transformers4)


@pytest.fixture(scope="session")
def embedded() -> Store:
    """The embedded artifacts with everything that derives from them; read only."""
    prepare = [sys.executable, "-m", "slimseq", "prepare", "--store", str(embedded_store())]
    subprocess.run(prepare, check=True, capture_output=True)
    return Store(embedded_store())


@pytest.fixture
def own_store(embedded: Store, tmp_path: Path) -> Store:
    """A copy of the embedded originals and their int8 variants, to change or break."""
    others = shutil.ignore_patterns("pruned", "distilled", "compact", "compact-float")
    shutil.copytree(embedded.root, tmp_path / "artifacts", ignore=others)
    return Store(tmp_path / "artifacts")
