import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the service, for tests that are coroutines."""
    return "asyncio"
