"""What a measurement records of the machine: instructions of the CPU, and memory."""

import ctypes
from pathlib import Path

import pytest

from slimseq.evaluation.host import INFERENCE_FLAGS, cpu_flags, resident_bytes, trim_memory


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel's list of flags is on Linux alone")
def test_flags_agree_with_the_kernel() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    listed = next(line for line in lines if line.lower().startswith(("flags", "features")))

    assert set(cpu_flags()) == INFERENCE_FLAGS & set(listed.partition(":")[2].split())


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc is known to keep what was freed")
def test_freed_memory_is_given_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    size, count = 100_000, 500
    blocks = [ctypes.c_void_p(library.malloc(size)) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    # The last one stays, and what is below it cannot be cut off.
    for block in blocks[:-1]:
        library.free(block)
    before = resident_bytes()

    trim_memory()

    assert before - resident_bytes() > size * count // 2
    library.free(blocks[-1])
