"""Describes the machine of a measurement (CPU, flags, cores, memory), and frees memory that the C library keeps.

Every record of quality and speed has these data, because int8 kernels differ between CPUs.
"""

import ctypes
import functools
import os
import platform
from collections.abc import Sequence

import archspec.cpu
import psutil
from archspec.cpu.detect import detected_info

# Flags of instructions that make inference faster, on x86-64 and on ARM.
INFERENCE_FLAGS = frozenset(
    {
        *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2"),
    }
)
# Number of an option of `mallopt` in glibc's malloc.h.
M_TRIM_THRESHOLD = -1
# Flags of CPUs with int8 multiply-add that sums in int32.
VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})

# Names of flags in macOS and cpuid, and their names in Linux, which this project uses.
LINUX_NAMES = {
    "avx1.0": "avx",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avxvnni": "avx_vnni",
    "amx-tile": "amx_tile",
    "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
}


def cpu_flags() -> list[str]:
    """Returns this CPU's flags that matter for inference, by their Linux names, sorted."""
    return sorted(_inference_flags())


def have_same_flags(flags: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two CPUs have the same instructions, so that measurements on one are valid for the other."""
    return sorted(flags) == sorted(others)


def has_vnni() -> bool:
    """Whether the CPU has int8 multiply-add with int32 sums, without saturation at int16."""
    return not VNNI_FLAGS.isdisjoint(_inference_flags())


def host_name() -> str:
    """Returns the CPU's brand and the number of cores for this process. It is not the machine's network name."""
    cores = available_cores()
    return f"{_cpu_brand()}, {cores} core{'' if cores == 1 else 's'}"


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def trim_memory() -> None:
    """Returns free memory to the operating system without garbage collection, which would block all threads."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def set_malloc_option(option: int, value: int) -> None:
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(option, value)


@functools.cache
def _inference_flags() -> frozenset[str]:
    # On Apple silicon archspec detects only the model, and looks the flags up in a table.
    features = detected_info().features or archspec.cpu.host().features
    return INFERENCE_FLAGS & {LINUX_NAMES.get(feature, feature) for feature in features}


@functools.cache
def _cpu_brand() -> str:
    try:
        brand = archspec.cpu.brand_string()
    except OSError:  # cpuid needs executable memory, which hardened systems forbid
        brand = None
    if brand and brand.strip():
        return " ".join(brand.split())
    target = archspec.cpu.host()
    return f"{target.name} ({platform.machine()})"
