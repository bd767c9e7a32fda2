from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from tests.compression.tiny import tiny_dev, tiny_file, tiny_store


@pytest.fixture
def context(tmp_path: Path) -> Context:
    tiny_file(tmp_path)
    tiny_dev(tmp_path)
    tiny_dev(tmp_path, "test.jsonl")
    return replace(tiny_store(tmp_path), may_replace=True)
