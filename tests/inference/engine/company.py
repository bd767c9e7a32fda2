"""Runs rows in an engine in random company: they join and leave at random steps, among others that are cancelled.

Tests compare the outputs with each row's output alone, by `exact_output`: outputs must be batch-invariant.
"""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.runtime import Engine, GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

ExactOutput = tuple[list[int], str, float | None]


def exact_output(sequence: GeneratedSequence) -> ExactOutput:
    """Returns what must be the same to the last bit. `==` of sequences does not compare log-probabilities."""
    return sequence.ids, sequence.finish_reason, sequence.mean_log_probability


def in_company(
    engine: Engine, rows: Sequence[Sequence[int]], options: Sequence[GenerationOptions], most_tokens: int = 200
) -> list[GeneratedSequence]:
    """Returns the outputs of rows that arrive at random, of which every other one is streamed.

    It also checks that the tokens that were reported step by step are the tokens of the outputs.

    Args:
        engine: an engine without inputs.
        rows: the input ids of each row.
        options: the options of each row.
        most_tokens: the limit of the input tokens that the encoder may run before a step.
    """
    random = np.random.default_rng(0)
    waiting = list(range(len(rows)))
    row_of_key: dict[int, int] = {}
    # By row.
    outputs: dict[int, GeneratedSequence] = {}
    reported: dict[int, list[int]] = {}
    while waiting or len(engine):
        arriving = min(int(random.integers(0, 4)), len(waiting))
        for row in [waiting.pop() for _ in range(arriving)]:
            key = engine.add(rows[row], options[row], is_streamed=row % 2 == 0)
            row_of_key[key] = row
        # An input that is cancelled leaves a gap.
        engine.drop([engine.add(rows[0], options[0])])
        engine.admit(tokens=int(random.integers(1, most_tokens)))
        for key, progress in engine.step().items():
            reported.setdefault(row_of_key[key], []).extend(progress.tokens)
            if progress.ended:
                outputs[row_of_key[key]] = progress.ended
    assert reported == {row: sequence.ids for row, sequence in outputs.items()}
    return [outputs[row] for row in range(len(rows))]
