from pathlib import Path

import pytest

from slimseq.compression.context import Context
from tests.compression.tiny import tiny_store


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A store with a random BART as `translation/original`; modules that need another have their own."""
    return tiny_store(tmp_path)
