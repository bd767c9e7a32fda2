"""Greedy search: the likeliest token at each step."""

import numpy as np

from models_store.configuration import ModelConfiguration
from models_store.decoding.constraints import constrain
from models_store.decoding.stepper import Stepper, finish_reason_of
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Sequenced, Watch


def greedy_search(
    stepper: Stepper, rows: int, options: GenerationOptions, configuration: ModelConfiguration, watch: Watch
) -> list[Sequenced]:
    """Generates one sequence a row.

    Args:
        stepper: the batch.
        rows: how many rows it has.
        options: limits and rules.
        configuration: special ids.
        watch: told each token at its step.

    Returns:
        One sequence a row.
    """
    ids = np.full((rows, options.max_new_tokens + 1), configuration.pad_id, dtype=np.int64)
    ids[:, 0] = configuration.decoder_start_id
    lengths = np.zeros(rows, dtype=np.int64)
    is_open = np.ones(rows, dtype=bool)
    was_cancelled = False
    for length in range(1, options.max_new_tokens + 1):
        if watch.is_cancelled is not None and watch.is_cancelled():
            was_cancelled = True
            break
        scores = stepper.step(ids[:, length - 1])
        constrain(scores, ids[:, :length], options, configuration)
        tokens = scores.argmax(axis=1)
        ids[is_open, length] = tokens[is_open]
        lengths[is_open] = length
        if watch.on_token is not None:
            for open_row in np.nonzero(is_open)[0]:
                watch.on_token(int(open_row), int(tokens[open_row]))
        is_open &= tokens != configuration.eos_id
        if not is_open.any():
            break
    sequences = []
    for row in range(rows):
        row_ids: list[int] = ids[row, 1 : lengths[row] + 1].tolist()
        reason = finish_reason_of(row_ids, options, configuration)
        sequences.append(Sequenced(row_ids, "cancelled" if was_cancelled and is_open[row] else reason))
    return sequences
