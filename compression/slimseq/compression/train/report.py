"""The report of a finished training run."""

from dataclasses import dataclass

from slimseq.compression.train.options import Precision, TrainingOptions

# A run with fewer steps only checks that everything works: AdamW has hardly changed the weights.
FEWEST_STEPS = 100


@dataclass(frozen=True)
class TrainingReport:
    """The results of a run. Losses are means in nats a target token.

    `first_loss` and `last_loss` are over the first and last 20 steps and include label smoothing and every other part
    of the loss; `dev_loss_before` (None after a resumption) and `dev_loss_after` are plain cross entropy. `tokens`
    counts ids of both sides without padding. `precision` is that of the forward pass, bf16 or fp32. `resumed_from` is
    the step of the checkpoint that the run resumed from.
    """

    steps: int
    seconds: float
    tokens: int
    tokens_per_second: float
    first_loss: float | None
    last_loss: float | None
    precision: Precision
    dev_loss_before: float | None = None
    dev_loss_after: float | None = None
    resumed_from: int | None = None

    def remark(self, options: TrainingOptions) -> str:
        """Returns a warning if a training was too short for a meaningful result, else an empty string.

        Too short is fewer than 100 steps, or fewer than the warm-up of the learning rate.
        """
        if not self.steps:
            return "Nothing was trained: quality is what the cut alone leaves."
        least = max(FEWEST_STEPS, options.warmup_steps)
        if self.steps >= least:
            return ""
        reason = f"below {least} a result means little"
        if least > FEWEST_STEPS:
            reason = f"the warm-up of a whole run has {least:,}"
        return (
            f"Only {self.steps:,} training {'step' if self.steps == 1 else 'steps'}: {reason}. "
            "Train longer (--max-seconds, --max-steps, --epochs) before you judge the quality."
        )
