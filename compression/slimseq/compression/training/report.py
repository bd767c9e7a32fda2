"""What a training run tells of itself when it is over."""

from dataclasses import dataclass

from slimseq.compression.training.checkpoint import Progress
from slimseq.compression.training.options import TrainingOptions

# Fewer steps are a try whether everything works: AdamW has hardly left the weights that it began with.
FEWEST_STEPS = 100
# First and last mean losses are over so many steps, or fewer where the run was shorter.
MEAN_STEPS = 20


@dataclass(frozen=True)
class TrainingReport:
    """What a run did. Losses are means in nats a target token.

    `first_loss` and `last_loss` are over the first and last 20 steps and include label smoothing and every other part
    of the loss; `dev_loss_before` (None after a resumption) and `dev_loss_after` are plain cross entropy. `tokens`
    counts ids of both sides without padding. `resumed_from` is the step of the checkpoint that the run went on from.
    """

    steps: int
    seconds: float
    tokens: int
    tokens_per_second: float
    first_loss: float | None
    last_loss: float | None
    dev_loss_before: float | None = None
    dev_loss_after: float | None = None
    resumed_from: int | None = None


def report_of(
    progress: Progress, dev_loss_before: float | None, dev_loss_after: float | None, resumed_from: int | None
) -> TrainingReport:
    """Returns the report of a run that has come so far."""
    return TrainingReport(
        steps=progress.steps,
        seconds=round(progress.seconds, 3),
        tokens=progress.tokens,
        tokens_per_second=round(progress.tokens / progress.seconds, 1) if progress.seconds else 0.0,
        first_loss=_mean(progress.losses[:MEAN_STEPS]),
        last_loss=_mean(progress.losses[-MEAN_STEPS:]),
        dev_loss_before=dev_loss_before,
        dev_loss_after=dev_loss_after,
        resumed_from=resumed_from,
    )


def too_short(report: TrainingReport, options: TrainingOptions) -> str:
    """Returns one line where a training was too short to mean anything, else nothing.

    That is fewer steps than 100, or than the warm-up of the learning rate was to take.
    """
    if not report.steps:
        return "Nothing was trained: quality is what the cut alone leaves."
    least = max(FEWEST_STEPS, options.warmup_steps)
    if report.steps >= least:
        return ""
    reason = (
        f"the warm-up of a whole run has {least:,}" if least > FEWEST_STEPS else f"below {least} a result means little"
    )
    return (
        f"Only {report.steps:,} training {'step' if report.steps == 1 else 'steps'}: {reason}. "
        "Train longer (--max-seconds, --max-steps, --epochs) before you judge the quality."
    )


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
