"""What a search needs from a runtime: scores for the next token, and caches that follow its choices."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models_store.configuration import ModelConfiguration
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import FinishReason

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]


class Stepper(Protocol):
    """A batch whose encoder has run. Its rows are the search's hypotheses, `num_beams` for each input."""

    def step(self, tokens: Ids) -> Scores:
        """Feeds one token a row and returns the logits of the next, `(rows, vocabulary)`, float32.

        The array is the caller's to change.
        """

    def reorder(self, rows: Ids) -> None:
        """Makes row `i` continue what row `rows[i]` was; rows never cross from one input to another."""


def finish_reason_of(ids: list[int], options: GenerationOptions, configuration: ModelConfiguration) -> FinishReason:
    """Returns why a row ended. An end token that was forced at the last position counts as `length`."""
    ended = bool(ids) and ids[-1] == configuration.eos_id
    was_forced = configuration.forced_eos_id is not None and len(ids) >= options.max_new_tokens
    return "eos" if ended and not was_forced else "length"
