import ctypes

import numpy as np
import pytest

from slimseq.compression.training.freed_memory import keeping_freed_memory
from slimseq.evaluation.host import resident_bytes

LARGE = 96 * 2**20


def kept(device: str) -> int:
    """Bytes that stay resident when a large array has been freed."""
    before = resident_bytes()
    with keeping_freed_memory(device):
        array = np.ones(LARGE, dtype=np.uint8)
        del array
        return resident_bytes() - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_kept_and_then_given_back() -> None:
    before = resident_bytes()

    assert kept("cpu") > LARGE / 2
    assert resident_bytes() - before < LARGE / 2


def test_other_devices_allocate_as_ever() -> None:
    assert kept("cuda") < LARGE / 2
