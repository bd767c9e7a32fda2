"""Rows that draw with a seed, on runtimes whose rows share one source of random numbers: each runs alone.

So what a row draws depends on its seed and on nothing that it is batched with.
"""

from collections.abc import Callable, Sequence
from threading import Lock

from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.manifest import GenerationOptions

# Libraries keep one seed a process: between setting it and the last draw nobody else may draw.
DRAWING = Lock()

Generate = Callable[[Sequence[Sequence[int]], GenerationOptions, GenerationCallbacks], list[GeneratedSequence]]


def has_seed(options: GenerationOptions) -> bool:
    """Whether what is drawn can be drawn again."""
    return options.do_sample and options.seed is not None


def one_by_one(
    generate: Generate, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks
) -> list[GeneratedSequence]:
    """Generates row by row; arguments as `Runtime.generate` has them, and what does it for one row."""

    def alone(number: int) -> GenerationCallbacks:
        told = watch.on_token
        return GenerationCallbacks(told and (lambda _, token: told(number, token)), watch.is_cancelled)

    return [output for number, row in enumerate(rows) for output in generate([row], options, alone(number))]
