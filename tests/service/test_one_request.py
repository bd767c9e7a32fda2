"""The document about one request names the files that a request really runs, and these are few."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.service.conftest import free_port

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "explanations" / "one-request.md"
# A timer runs this file. It is no part of a request.
TIMER = "app/slimseq/app/http/server.py"
MAX_FILES = 45


@pytest.fixture(scope="module")
def traced(embedded: Store) -> list[str]:
    """The files that a request runs, in the order of their first calls."""
    variables = os.environ | {"SLIMSEQ_STORE": str(embedded.root), "SLIMSEQ_PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.service.traced_request"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=True)
    return [name for name in done.stdout.split() if name != TIMER]


def documented() -> list[str]:
    """The files that the document names, in its order."""
    return re.findall(r"^\d+\. `(.+?)`", DOCUMENT.read_text(), re.MULTILINE)


def test_the_document_names_the_files_of_a_request(traced: list[str]) -> None:
    assert sorted(traced) == sorted(documented())


def test_the_document_has_the_files_of_the_service_in_their_order(traced: list[str]) -> None:
    # Only these files have a fixed order. Reading and writing on a connection overlap.
    rooms = ("app/slimseq/app/generate", "app/slimseq/app/serving/selection")

    written = [each for each in documented() if each.startswith(rooms)]

    assert written == [each for each in traced if each.startswith(rooms)]


def test_a_request_passes_few_files() -> None:
    assert len(documented()) <= MAX_FILES
