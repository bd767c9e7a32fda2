from pathlib import Path

import pytest

from slimseq.compression.context import Context
from tests.compression.tiny import tiny_artifact, tiny_context
from tests.families import Family


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A store with a random BART as `translation/original`; modules that need another have their own."""
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    return context
