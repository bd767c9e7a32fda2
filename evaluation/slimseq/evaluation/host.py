"""Describes the machine of a measurement (CPU, flags, cores, memory), and tunes the C library's allocator.

Every quality and performance record has these data, because int8 kernels differ between CPUs.
"""

import ctypes
import functools
import gc
import os
import platform
from collections.abc import Sequence

import archspec.cpu
import psutil
from archspec.cpu.detect import detected_info

INFERENCE_FLAGS = frozenset(
    {
        *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme", "sme2"),
    }
)
# Option numbers of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# More arenas keep more memory of unloaded variants than they save in lock contention.
MAX_ARENAS = 4
# Key-value caches are larger than the mmap threshold, and a step frees less than the trim threshold: so no step calls
# the operating system.
MMAP_THRESHOLD_BYTES = 4 * 2**20
TRIM_THRESHOLD_BYTES = 8 * 2**20
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
    """Returns the number of logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Returns the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


def give_back_memory() -> None:
    """Collects garbage and returns free memory to the operating system, if the C library supports it."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Returns free memory to the operating system without garbage collection, which would block all threads."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_heaps(arenas: int = MAX_ARENAS) -> None:
    """Limits the unused memory that the C library keeps, for a server. Call it before threads are started.

    Free memory of an arena cannot be used by threads of another one, and trimming returns only a part of it; glibc has
    up to eight arenas a core. By default it also raises its thresholds whenever large blocks are freed, up to 64 MiB
    for each arena, and trimming does not reach the end of the threads' arenas.
    """
    set_malloc_option(M_ARENA_MAX, min(available_cores(), arenas))
    set_malloc_option(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    set_malloc_option(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def set_malloc_option(option: int, value: int) -> None:
    """Sets an option of mallopt(3), if the C library has it."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(option, value)


@functools.cache
def _inference_flags() -> frozenset[str]:
    # On Apple silicon only the model is detected; archspec has a table of its flags.
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
