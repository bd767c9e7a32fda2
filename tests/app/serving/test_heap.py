import ctypes
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_what_threads_free_of_growing_arrays_goes_back_at_once() -> None:
    script = """
import threading
import numpy as np
from slimseq.app.serving.heap import bound_heaps
from slimseq.evaluation.host import resident_bytes, trim_memory

bound_heaps(arenas=2)

def grow():
    held = np.ones(2**20)
    for size in range(2, 5):
        held = np.concatenate([held, np.ones(2**20)])
    small = [np.ones(2**17) for _ in range(40)]

grow()
trim_memory()
before = resident_bytes()
for _ in range(3):
    thread = threading.Thread(target=grow)
    thread.start()
    thread.join()
trim_memory()
print(resident_bytes() - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert int(grown) < 12 * 2**20
