import os
from pathlib import Path

import pytest

from evaluation.host import INFERENCE_FLAGS, VNNI_FLAGS, available_cores, cpu_flags, has_vnni, host_name, resident_bytes


def test_flags_are_sorted_and_matter_to_inference() -> None:
    flags = cpu_flags()

    assert flags == sorted(flags) and set(flags) <= INFERENCE_FLAGS


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel's list of flags is on Linux alone")
def test_flags_agree_with_the_kernel() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    listed = next(line for line in lines if line.lower().startswith(("flags", "features")))

    assert set(cpu_flags()) == INFERENCE_FLAGS & set(listed.partition(":")[2].split())


def test_vnni_is_told_by_the_flags() -> None:
    assert has_vnni() == bool(VNNI_FLAGS & set(cpu_flags()))


def test_the_host_is_named_by_its_processor_and_its_cores() -> None:
    processor, cores = host_name().rsplit(", ", 1)

    assert processor.strip() and cores.split()[0] == str(available_cores())


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = bytearray(os.urandom(1 << 16)) * (1 << 10)

    assert resident_bytes() - before > len(held) // 2
