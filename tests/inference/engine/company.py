"""Rows in an engine that join and leave at random steps, among others that are cancelled."""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.runtime import Engine, GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

Bits = tuple[list[int], str, float | None]


def bits(sequence: GeneratedSequence) -> Bits:
    return sequence.ids, sequence.finish_reason, sequence.mean_log_probability


def in_company(
    engine: Engine, rows: Sequence[Sequence[int]], options: Sequence[GenerationOptions], most_tokens: int = 200
) -> list[GeneratedSequence]:
    """Returns outputs of rows that arrive at random, of which every other one is streamed."""
    draw, waiting = np.random.default_rng(0), list(range(len(rows)))
    keys, found, reported = dict[int, int](), dict[int, GeneratedSequence](), dict[int, list[int]]()
    while waiting or len(engine):
        for place in [waiting.pop() for _ in range(min(int(draw.integers(0, 4)), len(waiting)))]:
            keys[engine.add(rows[place], options[place], is_streamed=place % 2 == 0)] = place
        # One that is cancelled leaves a gap.
        engine.drop([engine.add(rows[0], options[0])])
        engine.admit(tokens=int(draw.integers(1, most_tokens)))
        for key, progress in engine.step().items():
            reported.setdefault(keys[key], []).extend(progress.tokens)
            if progress.ended:
                found[keys[key]] = progress.ended
    assert reported == {place: sequence.ids for place, sequence in found.items()}
    return [found[place] for place in range(len(rows))]
