"""The learning rate over a run: warm-up, stable, linear decay at the end (WSD).

Decay follows the completed fraction of the run, for any kind of bound. So a run bounded by time decays as one bounded
by steps does.
"""

from dataclasses import dataclass

from slimseq.compression.options import COMMON, flat

# The warm-up ends after this share of the run, if the run is too short for the steps of the warm-up.
WARMUP_SHARE = 0.1


def learning_rate_factor(step: int, done: float, warmup_steps: int, decay_fraction: float) -> float:
    """Returns the factor of the learning rate: it rises to 1, stays there, and falls to 0 at the end of the run.

    Hu et al. 2024, https://arxiv.org/abs/2404.06395, section 4: unlike a cosine, the stable part does not depend on the
    end of the run, so a resumed run may be longer than planned. A short run warms up over its first tenth instead.
    """
    warm = min(1.0, max((step + 1) / warmup_steps, done / WARMUP_SHARE)) if warmup_steps else 1.0
    left = max(0.0, 1.0 - done)
    return warm * (min(1.0, left / decay_fraction) if decay_fraction else 1.0)


@flat(COMMON)
@dataclass(frozen=True)
class Bounds:
    """The end of a run: the first bound that is reached. None is no bound."""

    max_steps: int | None = None
    """Stop after this many optimizer steps. 0 skips training."""
    max_seconds: float | None = None
    """Stop after this many seconds of training. Time before an interruption counts."""
    epochs: float | None = None
    """Stop after this many passes over the data. May be a fraction."""

    @property
    def is_bounded(self) -> bool:
        return any(bound is not None for bound in (self.max_steps, self.max_seconds, self.epochs))

    @property
    def is_over_at_once(self) -> bool:
        """Whether a bound is 0, so that nothing is trained."""
        return 0 in (self.max_steps, self.max_seconds, self.epochs)

    def done(self, steps: int, seconds: float, epochs: float) -> float:
        """Returns the completed fraction of the run: the largest over all bounds, at most 1."""
        parts = ((steps, self.max_steps), (seconds, self.max_seconds), (epochs, self.epochs))
        return max((min(1.0, value / bound) if bound > 0 else 1.0 for value, bound in parts if bound is not None))
