"""What the machine is that a measurement was taken on: CPU, flags that decide the speed of int8, and memory.

Every quality and performance record carries these, because int8 kernels differ from CPU to CPU.
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
# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# More heaps than this hold back more of an unloaded variant's memory than they save in waiting.
MOST_ARENAS = 4
# Caches of rows in flight are larger, what a step frees is less: neither is asked of the system at every step.
LARGE_BYTES = 4 * 2**20
KEPT_BYTES = 8 * 2**20
VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})

# What macOS and cpuid call the flags that Linux, and so this project, spells otherwise.
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
    """Returns this CPU's flags that matter to inference, in Linux's spelling, sorted."""
    return sorted(_inference_flags())


def are_alike(flags: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two CPUs know the same instructions, so that what was measured on one holds on the other."""
    return sorted(flags) == sorted(others)


def has_vnni() -> bool:
    """Whether the CPU multiplies int8 into int32 without a step that saturates at int16."""
    return not VNNI_FLAGS.isdisjoint(_inference_flags())


def host_name() -> str:
    """Returns the CPU's brand and the cores that this process may use. Never the machine's network name."""
    cores = available_cores()
    return f"{_cpu_brand()}, {cores} core{'' if cores == 1 else 's'}"


def available_cores() -> int:
    """Returns how many logical cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Returns the memory that this process holds in RAM, in bytes."""
    return int(psutil.Process().memory_info().rss)


def give_back_memory() -> None:
    """Returns freed memory to the system where the C library can, so that resident bytes are those in use."""
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Does the same without looking for unreachable objects, which would hold all threads up."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_heaps() -> None:
    """Has the C library hold little more than is in use, as suits a process that serves. Call it before any threads."""
    limit_arenas(min(available_cores(), MOST_ARENAS))
    give_back_when_freed(LARGE_BYTES, KEPT_BYTES)


def limit_arenas(count: int) -> None:
    """Lets threads share so many heaps, where the C library has several (glibc: up to eight a core).

    What is freed in one of them is of no use to the threads of another, and trimming leaves much of it behind. To be
    called before there are threads.
    """
    set_malloc_option(M_ARENA_MAX, count)


def give_back_when_freed(large: int, kept: int) -> None:
    """Has the C library return memory to the system as it is freed.

    Left alone, it learns from large pieces that are freed to keep ever larger ones, 64 MiB for each heap in the end,
    and trimming does not reach what is at the end of the heaps of threads.

    Args:
        large: pieces of so many bytes have memory of their own, which goes when they are freed.
        kept: how many bytes of smaller ones a heap may keep for what comes next.
    """
    set_malloc_option(M_MMAP_THRESHOLD, large)
    set_malloc_option(M_TRIM_THRESHOLD, kept)


def set_malloc_option(option: int, value: int) -> None:
    """Sets one of mallopt(3)'s options, where the C library has such."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(option, value)


@functools.cache
def _inference_flags() -> frozenset[str]:
    # On Apple silicon nothing is detected but the model, whose flags archspec's table knows.
    features = detected_info().features or archspec.cpu.host().features
    return INFERENCE_FLAGS & {LINUX_NAMES.get(feature, feature) for feature in features}


@functools.cache
def _cpu_brand() -> str:
    try:
        brand = archspec.cpu.brand_string()
    except OSError:  # reading cpuid needs executable memory, which hardened systems refuse
        brand = None
    if brand and brand.strip():
        return " ".join(brand.split())
    target = archspec.cpu.host()
    return f"{target.name} ({platform.machine()})"
