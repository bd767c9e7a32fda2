"""Keeps rows apart where a library would let one change another's output: by padding, by the number of rows, by a seed.

A longer row pads the others, and a float matmul of another shape sums in another order: near ties then fall the other
way. Integer sums are the same in any order, so int8 rows do not change each other if the length to which each is padded
follows from its own. Other rows run alone.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions

# Libraries have one seed a process: nobody else may sample between setting it and the end of the generation.
SEED_LOCK = Lock()
SHORTEST_STEP = 8

Rows = Sequence[Sequence[int]]
Generate = Callable[[Rows, GenerationOptions, GenerationCallbacks], list[GeneratedSequence]]


def has_seed(options: GenerationOptions) -> bool:
    return options.do_sample and options.seed is not None


def each_alone(rows: Rows) -> list[list[int]]:
    return [[number] for number in range(len(rows))]


def padded_length(length: int, most: int | None) -> int:
    """Returns the length to which a row is padded: the next multiple of 8, or of an eighth to a quarter of it.

    `most` is the longest input that the model can read.
    """
    step = max(SHORTEST_STEP, 1 << max(0, length.bit_length() - 3))
    padded = -(-length // step) * step
    return padded if most is None else min(padded, most)


def by_padded_length(rows: Rows, most: int | None) -> list[list[int]]:
    """Returns the numbers of the rows of each padded length, in the order in which these first occur."""
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(padded_length(len(row), most), []).append(number)
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
