from tests.compression.conftest import context

__all__ = ["context"]
