"""Seeded sampling for runtimes whose rows share one random generator: generates row by row.

The output of a row then depends on its seed only, and not on the batch.
"""

from collections.abc import Callable, Sequence
from threading import Lock

from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions

# Libraries have one seed a process: nobody else may sample between setting it and the end of the generation.
SEED_LOCK = Lock()

Generate = Callable[[Sequence[Sequence[int]], GenerationOptions, GenerationCallbacks], list[GeneratedSequence]]


def has_seed(options: GenerationOptions) -> bool:
    return options.do_sample and options.seed is not None


def one_by_one(
    generate: Generate, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks
) -> list[GeneratedSequence]:
    """Calls `generate` for each row alone. The other arguments are those of `Runtime.generate`."""

    def callbacks_of(number: int) -> GenerationCallbacks:
        on_token = callbacks.on_token
        return GenerationCallbacks(on_token and (lambda _, token: on_token(number, token)), callbacks.is_cancelled)

    return [output for number, row in enumerate(rows) for output in generate([row], options, callbacks_of(number))]
