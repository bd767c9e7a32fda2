"""The report of a finished training run."""

from dataclasses import dataclass

from slimseq.compression.train.training_options import Precision, TrainingOptions

# A run with fewer steps only checks that everything works: AdamW has hardly changed the weights.
FEWEST_STEPS = 100


@dataclass(frozen=True)
class TrainingReport:
    """The results of a run.

    Losses are means in nats a target token. Training losses include label smoothing and every other part of the loss.
    Dev losses are the plain cross entropy of dev data.
    """

    steps: int
    seconds: float
    tokens: int
    """Ids of sources and targets, without padding."""
    tokens_per_second: float
    first_loss: float | None
    """Training loss over the first 20 steps, or over the first half of a shorter run."""
    last_loss: float | None
    """Training loss over the last 20 steps, or over the second half of a shorter run."""
    precision: Precision
    """Precision of the forward pass, bf16 or fp32."""
    dev_loss_before: float | None = None
    """Loss on dev data before the run."""
    dev_loss_after: float | None = None
    """Loss on dev data of the weights that the model has now."""
    dev_loss_last: float | None = None
    """Loss on dev data after the last step."""
    kept_step: int | None = None
    """Step whose weights the model has now. None for the last step."""
    resumed_from: int | None = None
    """Step of the checkpoint that the run resumed from."""

    @property
    def got_worse(self) -> bool:
        """Whether no state of the run has a lower loss on dev data than the model had before it."""
        if not self.steps or self.dev_loss_before is None or self.dev_loss_after is None:
            return False
        return self.dev_loss_after > self.dev_loss_before

    def lines(self, parent_dev_loss: float | None = None) -> list[str]:
        """Returns what was trained and what it is worth, for people. The parent is what it learned from."""
        lines = []
        if self.steps:
            ends = [f"{loss:.3f}" for loss in (self.first_loss, self.last_loss) if loss is not None]
            # In a run of one step, the first loss is the last.
            ends = ends[: self.steps]
            lines.append(
                f"{self.steps:,} steps, {self.seconds:,.0f} s, {self.tokens_per_second:,.0f} tokens/s, "
                f"training loss {' to '.join(ends)}, {self.precision}"
            )
        losses = {"parent": parent_dev_loss, "before": self.dev_loss_before, "after": self.dev_loss_after}
        measured = [f"{name} {loss:.3f}" for name, loss in losses.items() if loss is not None]
        if measured:
            lines.append(f"Loss on dev data: {', '.join(measured)}")
        if self.kept_step is not None:
            lines.append(
                f"The weights are those of step {self.kept_step:,}, which have the lowest loss on dev data: "
                f"{self.dev_loss_after:.3f}. After the last step it was {self.dev_loss_last:.3f}."
            )
        if self.got_worse:
            lines.append(f"Warning: {self.worse_in_words}.")
        return lines

    @property
    def worse_in_words(self) -> str:
        """Returns by how much a training got worse, and what helps."""
        return (
            f"training made it worse: the loss on dev data was {self.dev_loss_before:.4f} before, and at best "
            f"{self.dev_loss_after:.4f} after. Train on more data, with a lower --learning-rate or for a shorter time"
        )

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
