"""Fixtures of the tests that compare our runtime with transformers."""

from collections.abc import Iterator

import pytest

from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store


@pytest.fixture(scope="module", params=list(Task), ids=[task.value for task in Task])
def ours_and_torch(request: pytest.FixtureRequest, embedded: Store) -> Iterator[tuple[TextGenerator, TextGenerator]]:
    """Yields the uncompressed model that the repository ships, opened twice.

    The first generator is in our runtime. The second one is in PyTorch with transformers, as the reference.
    """
    with (
        open_generator(embedded, request.param, "original", "onnxruntime", threads=1) as ours,
        open_generator(embedded, request.param, "original", "torch", threads=1) as reference,
    ):
        yield ours, reference
