"""A planner, and a queue without a model, that are closed after the test."""

from collections.abc import Iterator

import pytest

from slimseq.app.generate.planner import Planner
from slimseq.app.serving.batching.static import StaticBatching
from tests.app.serving.generators import EchoGenerator


@pytest.fixture
def planner() -> Iterator[Planner]:
    planner = Planner()
    yield planner
    planner.close()


@pytest.fixture
def echo() -> EchoGenerator:
    return EchoGenerator()


@pytest.fixture
def batching(echo: EchoGenerator) -> Iterator[StaticBatching]:
    batching = StaticBatching(echo, "translation/test")
    yield batching
    batching.close()
