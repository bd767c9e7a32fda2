from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file
from tests.families import Family


@pytest.fixture
def context(tmp_path: Path) -> Context:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    tiny_file(tmp_path)
    return replace(context, may_replace=True)
