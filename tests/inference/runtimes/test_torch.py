"""PyTorch's runtime: its library is loaded without the interpreter lock."""

import subprocess
import sys

import pytest

LOADING = """
import sys, threading, time
from slimseq.inference.runtimes.torch import load_library

loading, turns = threading.Thread(target=load_library), 0
loading.start()
while loading.is_alive():
    turns += 1
    time.sleep(0.001)
assert "torch" not in sys.modules
print(turns, "libtorch_cpu.so" in open("/proc/self/maps").read())
import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the library has another name")
def test_other_threads_go_on_while_the_library_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)

    turns, is_loaded = done.stdout.split()
    assert is_loaded == "True"
    # With the interpreter lock held, the loop would have a handful of turns.
    assert int(turns) > 20
