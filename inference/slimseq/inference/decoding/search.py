"""What a search is: rows that join and leave at any time, and one decision a step for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slimseq.inference.decoding.scores import Ids, StepScores
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import FinishReason, GeneratedSequence
from slimseq.models_store.manifest import GenerationOptions


@dataclass
class Advance:
    """What a step decided.

    Args:
        told: `(input, token)` for tokens that are final, in order.
        done: what came of the inputs that have ended, by input.
        origins: which row of its input each one goes on with, `(inputs, num_beams)`; None where all stay what they are.
    """

    told: list[tuple[int, int]] = field(default_factory=list)
    done: dict[int, GeneratedSequence] = field(default_factory=dict)
    origins: Ids | None = None


class Search(Protocol):
    """Searches for several inputs at once. Each has `num_beams` rows, one behind the other, and is of its own age."""

    num_beams: int
    top: int
    needs_log_sum_exp: bool

    def __len__(self) -> int:
        """How many inputs are being searched for."""

    def join(self, options: Sequence[GenerationOptions]) -> None:
        """Adds inputs behind those there are, each with its own options."""

    def keep(self, order: Ids) -> None:
        """Makes input `i` what input `order[i]` was; others leave."""

    def next_tokens(self) -> Ids:
        """Returns the token that each row feeds next, `(rows,)`."""

    def positions(self) -> Ids:
        """Returns how many tokens each row has fed, `(rows,)`."""

    def advance(self, scores: StepScores) -> Advance:
        """Decides what comes next in every row."""

    def cut(self, row: int) -> GeneratedSequence:
        """Returns what an input has come to, which is cancelled."""


def finish_reason_of(ids: list[int], options: GenerationOptions, configuration: ModelConfiguration) -> FinishReason:
    """Returns why a row ended. An end token that was forced at the last position counts as `length`."""
    return finish_reason(ids, options.max_new_tokens, configuration)


def finish_reason(ids: list[int], max_new_tokens: int, configuration: ModelConfiguration) -> FinishReason:
    """Returns why a row ended that may have had so many tokens."""
    ended = bool(ids) and ids[-1] == configuration.eos_id
    was_forced = configuration.forced_eos_id is not None and len(ids) >= max_new_tokens
    return "eos" if ended and not was_forced else "length"
