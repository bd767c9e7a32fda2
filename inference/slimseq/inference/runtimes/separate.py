"""Keeps rows apart where a library would let one change another's output: by padding, by the number of rows, by a seed.

A longer row pads the others, and a float matmul of another shape sums in another order. Near ties between two tokens
may then be decided otherwise, and an output would depend on the other rows. Integer sums are the same in any order. So
rows of an int8 model may share a call in two cases: if the length to which each is padded follows from its own length,
or if the library sums in one order whatever the length is. Other rows run alone.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Lock

from archspec.cpu.detect import detected_info

from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions

# Libraries have one seed a process: nobody else may sample between setting it and the end of the generation.
SEED_LOCK = Lock()
# Padded lengths are multiples of this at least, in tokens.
SHORTEST_STEP = 8
# The features for which oneDNN has the kernels of `LAST_IN_ONE_ORDER`.
AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
# oneDNN's kernels for AVX-512 sum in one order for all lengths up to 15 tokens, and in another one for those from 16 to
# 384. `lengths_in_one_order` says how this was measured.
LAST_IN_ONE_ORDER = (15, 384)
# Environment variables that make the library choose other kernels.
KERNEL_VARIABLES = ("CT2_USE_MKL", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")

Rows = Sequence[Sequence[int]]
Generate = Callable[[Rows, GenerationOptions, GenerationCallbacks], list[GeneratedSequence]]


def has_seed(options: GenerationOptions) -> bool:
    return options.do_sample and options.seed is not None


def each_alone(rows: Rows) -> list[list[int]]:
    return [[number] for number in range(len(rows))]


def lengths_in_one_order() -> tuple[int, ...]:
    """Returns the last lengths of ranges within which CTranslate2's padding changes no sum of attention.

    There are none on most CPUs. On AMD's the library multiplies by oneDNN, on Intel's by MKL. Measured for random rows
    of three int8 models, alone and in calls of up to 16: none of 1,100 differs with oneDNN and AVX-512, up to a fifth
    do with oneDNN and AVX2, and a tenth with MKL.
    """
    cpu = detected_info()
    if cpu.vendor != "AuthenticAMD" or not cpu.features >= AVX512:
        return ()
    if any(name in os.environ for name in KERNEL_VARIABLES):
        return ()
    return LAST_IN_ONE_ORDER


def padded_length(length: int, most: int | None, in_one_order: Sequence[int]) -> int:
    """Returns the length to which a row must be padded: the next multiple of a step.

    The step is a power of two, an eighth to a quarter of the length but at least `SHORTEST_STEP`: so there are few
    padded lengths, and little padding. `most` is the longest input that the model can read. Rows whose length is
    within a range of `in_one_order` need no padding.
    """
    if length <= max(in_one_order, default=0):
        return length
    # The largest power of two that is not above a quarter of the length.
    quarter = 1 << max(0, length.bit_length() - 3)
    step = max(SHORTEST_STEP, quarter)
    padded = (length + step - 1) // step * step
    return padded if most is None else min(padded, most)


def by_padded_length(rows: Rows, most: int | None, in_one_order: Sequence[int]) -> list[list[int]]:
    """Returns the numbers of the rows that may share a call, shortest first.

    They are in the same range of `in_one_order`, or are padded to the same length.
    """
    groups: dict[int, list[int]] = {}
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number])):
        length = len(rows[number])
        ranges = (last for last in in_one_order if length <= last)
        key = next(ranges, padded_length(length, most, in_one_order))
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def generate_in_groups(
    generate: Generate,
    groups: Iterable[Sequence[int]],
    rows: Rows,
    options: GenerationOptions,
    callbacks: GenerationCallbacks | None,
) -> list[GeneratedSequence]:
    """Calls `generate` for each group of rows, given by their numbers. The rest is as in `Runtime.generate`."""
    all_callbacks = callbacks or GenerationCallbacks()
    on_token = all_callbacks.on_token

    def callbacks_for(group: Sequence[int]) -> GenerationCallbacks:
        """Returns callbacks for which `generate` may number the rows of a group from 0 on."""
        if on_token is None:
            return all_callbacks
        return replace(all_callbacks, on_token=lambda row, token: on_token(group[row], token))

    outputs: dict[int, GeneratedSequence] = {}
    for group in groups:
        generated = generate([rows[number] for number in group], options, callbacks_for(group))
        outputs |= zip(group, generated, strict=True)
    return [outputs[number] for number in range(len(rows))]
