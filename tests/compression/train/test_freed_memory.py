import ctypes
import subprocess
import sys

import pytest

LARGE = 96 * 2**20
# In a process of its own, whose heap has no freed memory yet.
PROGRAM = f"""
import sys
import numpy as np
from slimseq.compression.train.trainer import keeping_freed_memory
from slimseq.evaluation.host import resident_bytes

before = resident_bytes()
with keeping_freed_memory(sys.argv[1]):
    array = np.ones({LARGE}, dtype=np.uint8)
    del array
    print(resident_bytes() - before)
print(resident_bytes() - before)
"""


def kept(device: str) -> list[int]:
    """Bytes that stay resident when a large array has been freed: within the block, and after it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, device], check=True, capture_output=True, text=True)
    return [int(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_kept_and_then_given_back() -> None:
    within, after = kept("cpu")

    assert within > LARGE / 2
    assert after < LARGE / 2


def test_other_devices_allocate_as_before() -> None:
    assert kept("cuda")[0] < LARGE / 2
