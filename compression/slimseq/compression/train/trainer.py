"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

The loop is plain torch: AdamW, gradient clipping, fp32 weights, and bf16 autocast where the device has instructions for
it. A run is bounded by steps, seconds or epochs, and resumes from a checkpoint. With dev data, the result is the state
with the lowest loss on the dev data. `training_run` has the state of a run and its steps. The caller publishes the
model.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.train.checkpoint import RunProgress
from slimseq.compression.train.data.batches import endless_batches
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import dropout_rate, pad_id_of, precision_on
from slimseq.compression.train.freed_memory import keeping_freed_memory
from slimseq.compression.train.mean_losses import first_mean, last_mean
from slimseq.compression.train.noted_signals import exit_for, noting_signals
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.compression.train.training_report import TrainingReport
from slimseq.compression.train.training_run import TrainingRun

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TrainingPaused(Exception):
    """Raised when a training stops at the step where its caller wanted a pause. A checkpoint has its whole state.

    The same call with a later pause, or without one, goes on from the checkpoint. It ends with the weights of a run
    without pauses. The end of the run may be chosen after a pause, as long as the learning rate is still constant: the
    steps so far are at most `1 - decay_fraction` of the bound before and after, and both bounds are at least
    `1 / WARMUP_SHARE` times the steps of the warm-up (`schedule`).
    """

    def __init__(self, progress: RunProgress, dev_loss: float | None) -> None:
        super().__init__(f"training paused at step {progress.steps:,}")
        self.steps = progress.steps
        self.seconds = progress.seconds
        """Seconds of training alone, of all runs so far."""
        self.steps_per_second = progress.steps / progress.seconds if progress.seconds else 0.0
        self.last_loss = last_mean(progress.losses)
        """Mean training loss of the last steps, in nats a target token."""
        self.dev_loss = dev_loss
        """Loss on dev data at the pause, in nats a target token. None without dev data."""


def train(
    model: "PreTrainedModel",
    dataset: TrainingSet,
    options: TrainingOptions,
    context: Context,
    teacher: "PreTrainedModel | None" = None,
    checkpoint_folder: Path | None = None,
    dev: TrainingSet | None = None,
    describe: str = "Training",
    pause_at: int | None = None,
) -> TrainingReport:
    """Trains a model in place. Afterwards the model is on `context.device` and in evaluation mode.

    Args:
        model: the model to train.
        dataset: the training pairs.
        options: bounds, learning rate and everything else that decides the result.
        context: device, seed and progress display.
        teacher: a model with the same vocabulary, whose output distribution the model learns (Hinton et al. 2015,
            https://arxiv.org/abs/1503.02531).
        checkpoint_folder: for checkpoints and the loss log (`losses.jsonl`, one JSON object a step). Training resumes
            from a checkpoint of the same options that is there.
        dev: held-out pairs. Their loss is measured before, during and after the training. The model ends with the
            weights of the lowest loss.
        describe: name of the work in the progress display.
        pause_at: number of steps after which the training pauses, if it has not ended. None for no pause.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, a checkpoint of another run, or a pause
            without a checkpoint.
        TrainingDiverged: the loss is not a finite number.
        TrainingPaused: the run is at the step of the pause. Its checkpoint was written.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
    """
    options.check()
    options = replace(options, precision=precision_on(context.device, options.precision))
    model.to(context.device)  # type: ignore[arg-type]
    run = TrainingRun(model, dataset, options, context, teacher, checkpoint_folder, dev)
    resumed_from = run.resume()
    if pause_at is not None and run.folder is None:
        raise BadParameters("a training pauses only where it can write a checkpoint")
    run.measure_before()
    _loop(run, describe, pause_at)
    progress = run.progress
    if run.done < 1:
        raise TrainingPaused(progress, run.dev_loss_at_pause())
    last_loss = run.measure() if progress.steps else progress.dev_loss_before
    kept_step = run.take_best(last_loss)
    return TrainingReport(
        steps=progress.steps,
        seconds=round(progress.seconds, 3),
        tokens=progress.tokens,
        tokens_per_second=round(progress.tokens / progress.seconds, 1) if progress.seconds else 0.0,
        first_loss=first_mean(progress.losses),
        last_loss=last_mean(progress.losses),
        precision=options.precision,
        dev_loss_before=progress.dev_loss_before,
        dev_loss_after=last_loss if kept_step is None else progress.best_loss,
        dev_loss_last=last_loss,
        kept_step=kept_step,
        resumed_from=resumed_from,
    )


def _loop(run: TrainingRun, describe: str, pause_at: int | None) -> None:
    """Runs steps until a bound is reached, a signal arrives, or the step of a pause is reached."""
    options, progress = run.options, run.progress
    started = time.monotonic()
    seconds_of_earlier_runs = progress.seconds
    tokens_of_earlier_runs = progress.tokens
    saved_at = started
    saving_seconds = 0.0
    batches = endless_batches(
        run.dataset,
        options.tokens_per_batch,
        pad_id_of(run.model),
        run.context.seed,
        progress.position,
    )
    run.model.train()
    with (
        keeping_freed_memory(run.context.device),
        dropout_rate(run.model, options.dropout),
        noting_signals() as signals,
        run.context.progress() as display,
    ):
        total, unit = run.goal()
        if pause_at is not None and unit == "steps":
            # This call goes no further than the pause, however far away the end is.
            total = min(total, pause_at)
        done = run.shown(total, unit)
        task = display.add_task(describe, total=total, completed=done, status="", unit=unit, resumed_at=done)
        try:
            while run.done < 1 and not signals and (pause_at is None or progress.steps < pause_at):
                entry = run.step(batches)
                now = time.monotonic()
                progress.seconds = seconds_of_earlier_runs + now - started
                run.log(entry | {"seconds": round(progress.seconds, 3)})
                tokens_per_second = (progress.tokens - tokens_of_earlier_runs) / (now - started)
                status = _status(progress, entry["learning_rate"], tokens_per_second)
                display.update(task, completed=run.shown(total, unit), status=status)
                if run.is_measured_now():
                    run.measure()
                    run.model.train()
                    # A bound in seconds counts training alone, so the time of the measurement is taken out.
                    started += time.monotonic() - now
                if now - saved_at >= run.checkpoint_seconds(saving_seconds):
                    saving_started = time.monotonic()
                    run.save()
                    saved_at = time.monotonic()
                    saving_seconds = saved_at - saving_started
        finally:
            run.model.train(False)
        run.save()
    if signals:
        exit_for(signals[0])


def _status(progress: RunProgress, learning_rate: float, tokens_per_second: float) -> str:
    """Returns what the progress display says beside its bar."""
    return (
        f"step {progress.steps:,}, training loss {last_mean(progress.losses):.3f}, "
        f"learning rate {learning_rate:.1e}, {tokens_per_second:,.0f} tokens/s"
    )
