from pathlib import Path

import pytest

from compression.context import Context
from models_store.manifest import Family
from tests.compression.tiny import tiny_artifact, tiny_context


@pytest.fixture(params=list(Family), ids=[family.value for family in Family])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Context:
    """A store with a random `translation/original` of either family."""
    context = tiny_context(tmp_path)
    tiny_artifact(context, request.param, tmp_path)
    return context


@pytest.fixture
def bart(tmp_path: Path) -> Context:
    """A store with a random BART as `translation/original`, for what does not depend on the family."""
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    return context
