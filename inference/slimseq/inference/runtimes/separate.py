"""Keeps rows apart where a library would let one change another's output: by padding, by the number of rows, by a seed.

A longer row pads the others, and a float matmul of another shape sums in another order: near ties then fall the other
way. Integer sums are the same in any order, so int8 rows do not change each other if the length to which each is padded
follows from its own, or if the library sums in one order whatever the length is. Other rows run alone.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from archspec.cpu.detect import detected_info

from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions

# Libraries have one seed a process: nobody else may sample between setting it and the end of the generation.
SEED_LOCK = Lock()
SHORTEST_STEP = 8
AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
# oneDNN's kernels for AVX-512 sum in one order up to the first length, and from there to the second.
LAST_IN_ONE_ORDER = (15, 384)
# They choose other kernels.
KERNEL_VARIABLES = ("CT2_USE_MKL", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")

Rows = Sequence[Sequence[int]]
Generate = Callable[[Rows, GenerationOptions, GenerationCallbacks], list[GeneratedSequence]]


def has_seed(options: GenerationOptions) -> bool:
    return options.do_sample and options.seed is not None


def each_alone(rows: Rows) -> list[list[int]]:
    return [[number] for number in range(len(rows))]


def lengths_in_one_order() -> tuple[int, ...]:
    """Returns the lengths up to each of which CTranslate2's padding changes no sum of attention; none on most CPUs.

    On AMD's it multiplies by oneDNN, on Intel's by MKL. Measured for random rows of three int8 models, alone and in
    calls of up to 16: none of 1,100 differs with AVX-512, up to a fifth do with AVX2, and a tenth with MKL.
    """
    cpu = detected_info()
    has_kernels = cpu.vendor == "AuthenticAMD" and cpu.features >= AVX512
    return LAST_IN_ONE_ORDER if has_kernels and not any(name in os.environ for name in KERNEL_VARIABLES) else ()


def padded_length(length: int, most: int | None, in_one_order: Sequence[int]) -> int:
    """Returns the length to which a row must be padded: the next multiple of 8, or of an eighth to a quarter of it.

    `most` is the longest input that the model can read. Rows `in_one_order` need no padding.
    """
    if length <= max(in_one_order, default=0):
        return length
    step = max(SHORTEST_STEP, 1 << max(0, length.bit_length() - 3))
    padded = -(-length // step) * step
    return padded if most is None else min(padded, most)


def by_padded_length(rows: Rows, most: int | None, in_one_order: Sequence[int]) -> list[list[int]]:
    """Returns the numbers of the rows that may share a call, shortest first: those in one order, or padded alike."""
    groups: dict[int, list[int]] = {}
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number])):
        length = len(rows[number])
        last = next((last for last in in_one_order if length <= last), padded_length(length, most, in_one_order))
        groups.setdefault(last, []).append(number)
    return list(groups.values())


def generate_in_groups(
    generate: Generate,
    groups: Iterable[Sequence[int]],
    rows: Rows,
    options: GenerationOptions,
    callbacks: GenerationCallbacks | None,
) -> list[GeneratedSequence]:
    """Calls `generate` for each group of rows, given by their numbers. The rest is as in `Runtime.generate`."""
    on_token, is_cancelled = (callbacks.on_token, callbacks.is_cancelled) if callbacks else (None, None)

    def callbacks_of(group: Sequence[int]) -> GenerationCallbacks:
        return GenerationCallbacks(on_token and (lambda row, token: on_token(group[row], token)), is_cancelled)

    outputs: dict[int, GeneratedSequence] = {}
    for group in groups:
        generated = generate([rows[number] for number in group], options, callbacks_of(group))
        outputs |= zip(group, generated, strict=True)
    return [outputs[number] for number in range(len(rows))]
