"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

The loop is plain torch: AdamW, gradient clipping, fp32 weights, and bf16 autocast where the device has instructions for
it. A run is bounded by steps, seconds or epochs, and resumes from a checkpoint. With dev data, the result is the state
with the lowest loss on the dev data. `loss` computes the loss, and `checkpoint` reads and writes checkpoints. The
caller publishes the model.
"""

import hashlib
import json
import math
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters, TrainingDiverged
from slimseq.compression.train import checkpoint
from slimseq.compression.train.checkpoint import RunProgress
from slimseq.compression.train.data.batches import Batch, endless_batches
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.forward import dropout_rate, pad_id_of, precision_on
from slimseq.compression.train.loss import Objective, dev_loss
from slimseq.compression.train.schedule import learning_rate_factor
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.compression.train.training_report import TrainingReport
from slimseq.evaluation.host import M_TRIM_THRESHOLD, set_malloc_option, trim_memory
from slimseq.models_store.files import writing_to

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# AdamW's betas, as in Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762, section 5.3).
BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
# Number of steps of the first and of the last mean loss. A run of fewer than twice as many steps has half of its steps
# in each mean.
MEAN_STEPS = 20
# Tokens to train on between two measurements of the loss on dev data, as a multiple of the tokens of the dev data. A
# token takes about a third as long to measure as to train on, so measuring takes less than a tenth of the time.
TOKENS_BETWEEN_MEASUREMENTS = 5
# Checkpoints are written as often as they take this share of the time, but not more often than this number of seconds.
# `checkpoint_seconds` bounds the time between two of them from above.
CHECKPOINT_SHARE = 0.02
SHORTEST_CHECKPOINT_SECONDS = 15.0
LOSS_LOG = "losses.jsonl"
# Options of glibc's `mallopt`, by their numbers in <malloc.h>. Then the values that keep freed memory, and the defaults
# that the manual page mallopt(3) names.
M_TOP_PAD, M_MMAP_MAX = -2, -4
KEEP_FREED_MEMORY = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 * 2**20}
MALLOC_DEFAULTS = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 128 * 2**10, M_TOP_PAD: 128 * 2**10}


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
    run = _Run(model, dataset, options, context, teacher, checkpoint_folder, dev)
    resumed_from = run.resume()
    if pause_at is not None and run.folder is None:
        raise BadParameters("a training pauses only where it can write a checkpoint")
    run.measure_before()
    run.loop(describe, pause_at)
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


def _mean_steps(steps: int) -> int:
    """Returns the number of steps in a mean loss of a run. The first and the last mean share no step."""
    return max(1, min(MEAN_STEPS, steps // 2))


def first_mean(losses: Sequence[float]) -> float | None:
    return _mean(losses[: _mean_steps(len(losses))])


def last_mean(losses: Sequence[float]) -> float | None:
    """Returns the mean loss of the last steps so far. It is shown during a run and at its end."""
    return _mean(losses[-_mean_steps(len(losses)) :])


def _mean(losses: Sequence[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None


@dataclass
class _Run:
    """The state of one run of `train`.

    `folder` is for checkpoints and the loss log. `best` are the weights with the lowest loss on dev data so far.
    """

    model: "PreTrainedModel"
    dataset: TrainingSet
    options: TrainingOptions
    context: Context
    teacher: "PreTrainedModel | None"
    folder: Path | None
    dev: TrainingSet | None
    progress: RunProgress = field(default_factory=RunProgress)
    best: checkpoint.Weights | None = None

    def __post_init__(self) -> None:
        if self.teacher is not None:
            self.teacher.to(self.context.device)  # type: ignore[arg-type]
            self.teacher.train(False)
        self.objective = Objective(self.model, self.teacher, self.options, self.context.device)
        rate, decay = self.options.learning_rate, self.options.weight_decay
        self.optimizer = torch.optim.AdamW(self.model.parameters(), rate, BETAS, weight_decay=decay, fused=True)

    @property
    def done(self) -> float:
        """The share of the run that is done. From 1 on, a bound is reached."""
        epochs = self.progress.examples / len(self.dataset)
        return self.options.bounds.done(self.progress.steps, self.progress.seconds, epochs)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that a checkpoint must have to be resumed.

        The bounds and the times of checkpoints may differ.
        """
        options = asdict(self.options)
        for name in ("bounds", "checkpoint_seconds"):
            del options[name]
        return options | {
            "seed": self.context.seed,
            "pairs": len(self.dataset),
            "data": _fingerprint(self.dataset),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "has_teacher": self.teacher is not None,
        }

    def resume(self) -> int | None:
        """Resumes from the folder's checkpoint; returns its step, or None for a new run."""
        torch.manual_seed(self.context.seed)
        self._turn_off_checkpoints_on_a_full_disk()
        if self.folder is None:
            return None
        found = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity)
        if found is not None:
            self.progress, self.best = found
        self._cut_log(self.folder / LOSS_LOG, self.progress.steps)
        if found is None:
            return None
        self.context.say(f"Resuming at step {self.progress.steps:,}{self._of_whole()} from {self.folder}")
        return self.progress.steps

    @staticmethod
    def _cut_log(log: Path, steps: int) -> None:
        """Removes the steps after the checkpoint from the loss log: the run repeats them."""
        lines = log.read_text(encoding="utf-8").splitlines()[:steps] if log.exists() else []
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _turn_off_checkpoints_on_a_full_disk(self) -> None:
        if self.folder is None:
            return
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        needed = checkpoint.bytes_needed(self.folder, self.model, has_best=self.dev is not None)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self.context.say(
                f"Warning: checkpoints need {needed / 1e9:,.2f} GB, and {self.folder} has {free / 1e9:,.2f} GB free. "
                "None is written, so that an interruption loses the training. --checkpoint names another folder."
            )
            self.folder = None

    def _of_whole(self) -> str:
        """Returns how much of the run is done, to follow a number of steps in a message."""
        total, unit = self._goal()
        return f" of {total:,}" if unit == "steps" else f", {round(self.done * total):,} of {total:,} {unit},"

    def measure_before(self) -> None:
        """Measures the loss on dev data before the first step, or after a resumption with other dev data."""
        if self.dev is None:
            return
        progress = self.progress
        dev_fingerprint = _fingerprint(self.dev)
        if progress.dev == dev_fingerprint:
            return
        # Losses on other dev data cannot be compared with those on this dev data.
        self.best = None
        progress.best_loss = None
        progress.best_step = 0
        progress.dev = dev_fingerprint
        progress.measured_tokens = progress.tokens
        progress.dev_loss_before = self._dev_loss(self.dev) if progress.steps == 0 else None

    def measure(self) -> float | None:
        """Measures the loss on dev data, and keeps the weights if it is the lowest so far."""
        if self.dev is None:
            return None
        progress = self.progress
        loss = self._dev_loss(self.dev)
        progress.measured_tokens = progress.tokens
        if progress.steps and (progress.best_loss is None or loss < progress.best_loss):
            progress.best_loss = loss
            progress.best_step = progress.steps
            self.best = checkpoint.weights_of(self.model)
        return loss

    def take_best(self, last_loss: float | None) -> int | None:
        """Gives the model its best weights. Returns their step, or None if the model keeps those of the last step."""
        progress = self.progress
        if last_loss is None or progress.best_loss is None or self.best is None:
            return None
        if last_loss <= progress.best_loss:
            return None
        checkpoint.set_weights(self.model, self.best)
        return progress.best_step

    @cached_property
    def tokens_between_measurements(self) -> float:
        """Tokens to train on between two measurements of the loss on dev data. Infinite without dev data."""
        if self.dev is None:
            return math.inf
        pairs = (self.dev[index] for index in range(len(self.dev)))
        return TOKENS_BETWEEN_MEASUREMENTS * sum(len(pair.source) + len(pair.target) for pair in pairs)

    def _dev_loss(self, dev: TrainingSet) -> float:
        return dev_loss(self.model, dev, self.context, self.options.precision)

    def dev_loss_at_pause(self) -> float | None:
        """Measures the loss on dev data without recording it. A run without the pause would not have measured here."""
        return None if self.dev is None else self._dev_loss(self.dev)

    def loop(self, describe: str, pause_at: int | None = None) -> None:
        """Runs steps until a bound is reached, a signal arrives, or the step of a pause is reached."""
        options, progress = self.options, self.progress
        started = time.monotonic()
        seconds_of_earlier_runs = progress.seconds
        tokens_of_earlier_runs = progress.tokens
        saved_at = started
        saving_seconds = 0.0
        batches = endless_batches(
            self.dataset,
            options.tokens_per_batch,
            pad_id_of(self.model),
            self.context.seed,
            progress.position,
        )
        self.model.train()
        with (
            keeping_freed_memory(self.context.device),
            dropout_rate(self.model, options.dropout),
            noting_signals() as signals,
            self.context.progress() as display,
        ):
            total, unit = self._goal()
            if pause_at is not None and unit == "steps":
                # This call goes no further than the pause, however far away the end is.
                total = min(total, pause_at)
            done = self._shown(total, unit)
            task = display.add_task(describe, total=total, completed=done, status="", unit=unit, resumed_at=done)
            try:
                while self.done < 1 and not signals and (pause_at is None or progress.steps < pause_at):
                    entry = self._step(batches)
                    now = time.monotonic()
                    progress.seconds = seconds_of_earlier_runs + now - started
                    self._log(entry | {"seconds": round(progress.seconds, 3)})
                    tokens_per_second = (progress.tokens - tokens_of_earlier_runs) / (now - started)
                    status = self._status(entry["learning_rate"], tokens_per_second)
                    display.update(task, completed=self._shown(total, unit), status=status)
                    if self._is_measured_now():
                        self.measure()
                        self.model.train()
                        # A bound in seconds counts training alone, so the time of the measurement is taken out.
                        started += time.monotonic() - now
                    if now - saved_at >= self._checkpoint_seconds(saving_seconds):
                        saving_started = time.monotonic()
                        self._save()
                        saved_at = time.monotonic()
                        saving_seconds = saved_at - saving_started
            finally:
                self.model.train(False)
            self._save()
        if signals:
            self._exit_for(signals[0])

    def _status(self, learning_rate: float, tokens_per_second: float) -> str:
        """Returns what the progress display says beside its bar."""
        progress = self.progress
        return (
            f"step {progress.steps:,}, training loss {last_mean(progress.losses):.3f}, "
            f"learning rate {learning_rate:.1e}, {tokens_per_second:,.0f} tokens/s"
        )

    @staticmethod
    def _exit_for(signal_number: int) -> NoReturn:
        """Ends the program as the signal would have done without a handler."""
        if signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        # A shell reports a process that a signal ended as 128 plus the signal's number.
        raise SystemExit(128 + signal_number)

    def _is_measured_now(self) -> bool:
        """Whether the loss on dev data is due. `train` measures it after the last step."""
        tokens_since = self.progress.tokens - self.progress.measured_tokens
        return self.done < 1 and tokens_since >= self.tokens_between_measurements

    def _checkpoint_seconds(self, saving_seconds: float) -> float:
        """Returns the seconds between two checkpoints, given how long the last one took to write."""
        affordable = max(SHORTEST_CHECKPOINT_SECONDS, saving_seconds / CHECKPOINT_SHARE)
        return min(self.options.checkpoint_seconds, affordable)

    def _step(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Makes one step of the optimizer, over `accumulation` batches. Returns its line for the loss log."""
        options, progress = self.options, self.progress
        rate = options.learning_rate * learning_rate_factor(
            progress.steps, self.done, options.warmup_steps, options.decay_fraction
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        means = defaultdict[str, float](float)
        for _ in range(options.accumulation):
            batch = next(batches)
            progress.examples += batch.rows
            progress.position = batch.after
            loss = self.objective.loss(batch.to(self.context.device))
            (loss.total / options.accumulation).backward()  # type: ignore[no-untyped-call]
            progress.tokens += batch.tokens
            for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
                means[name] += float(value) / options.accumulation
        gradient_norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM))
        # A gradient that is not finite would spoil the weights, and only the next loss would show it.
        if not (math.isfinite(means["loss"]) and math.isfinite(gradient_norm)):
            raise TrainingDiverged(
                f"the loss is {means['loss']} and its gradient {gradient_norm} at step {progress.steps + 1}; "
                f"lower the learning rate (now {rate:.1e})"
            )
        self.optimizer.step()
        progress.steps += 1
        progress.losses.append(means["loss"])
        return {"step": progress.steps, **means, "learning_rate": rate, "tokens": progress.tokens}

    def _save(self) -> None:
        if self.folder is not None and self.progress.steps:
            with writing_to(self.folder):
                checkpoint.save_checkpoint(
                    self.folder, self.model, self.optimizer, self.progress, self.identity, self.best
                )

    def _log(self, entry: dict[str, float]) -> None:
        if self.folder is not None:
            log = self.folder / LOSS_LOG
            with writing_to(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _shown(self, total: int, unit: str) -> int:
        """Returns how much of a goal is done, for a progress display."""
        return self.progress.steps if unit == "steps" else round(self.done * total)

    def _goal(self) -> tuple[int, str]:
        """Returns the number at which the run ends, for a progress display, and its unit."""
        bounds = self.options.bounds
        if bounds.max_steps is not None:
            return bounds.max_steps, "steps"
        if bounds.max_seconds is not None:
            return round(bounds.max_seconds), "s"
        return round((bounds.epochs or 0) * len(self.dataset)), "pairs"


def _fingerprint(dataset: TrainingSet) -> str:
    """Returns a hash of a data set: of all targets and of the lengths of the sources."""
    digest = hashlib.sha256()
    for example in dataset.examples:
        digest.update(f"{len(example.source)} {example.target}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def noting_signals() -> Iterator[list[int]]:
    """Yields a list that gets the first SIGINT or SIGTERM, so that a checkpoint is written before the program ends.

    A second signal raises KeyboardInterrupt. Python handles signals in the main thread only, so in any other thread the
    list stays empty.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    handlers_before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)


@contextmanager
def keeping_freed_memory(device: str) -> Iterator[None]:
    """On a CPU, keeps the memory that a training step frees for the next step, and returns it at the end.

    Each step allocates and frees the same large tensors. The C library would return their memory to the system and
    allocate it again, page by page, which takes a quarter of a step of a small model.
    """
    if device != "cpu":
        yield
        return
    try:
        for option, value in KEEP_FREED_MEMORY.items():
            set_malloc_option(option, value)
        yield
    finally:
        for option, value in MALLOC_DEFAULTS.items():
            set_malloc_option(option, value)
        trim_memory()
