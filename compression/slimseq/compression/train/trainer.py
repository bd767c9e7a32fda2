"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

Plain torch: AdamW, gradient clipping, fp32 weights, bf16 autocast where the device has instructions for it, bounded by
steps, seconds or epochs, resumable from a checkpoint. With dev data, the state with the lowest loss on it is the
result. The caller publishes it.
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
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import TrainingDiverged
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

BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
# Number of steps that the first and the last mean loss are over: at most, and at most half of the run.
MEAN_STEPS = 20
# Tokens to train on until the loss on dev data is measured again, as a multiple of the tokens of the dev data. To
# measure takes about a third of the time of a training step a token, so this is less than a tenth of the time.
TOKENS_BETWEEN_MEASUREMENTS = 5
# Until checkpoints take so long that `checkpoint_seconds` decides: seconds between two, and their share of the time.
SHORTEST_CHECKPOINT_SECONDS = 15.0
CHECKPOINT_SHARE = 0.02
LOSS_LOG = "losses.jsonl"
# Numbers and defaults of glibc's <malloc.h> and mallopt(3).
M_TOP_PAD, M_MMAP_MAX = -2, -4
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 * 2**20}
USUAL = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 128 * 2**10, M_TOP_PAD: 128 * 2**10}


def train(
    model: "PreTrainedModel",
    dataset: TrainingSet,
    options: TrainingOptions,
    context: Context,
    teacher: "PreTrainedModel | None" = None,
    checkpoint_folder: Path | None = None,
    dev: TrainingSet | None = None,
    describe: str = "Training",
) -> TrainingReport:
    """Trains a model in place; afterwards it is on `context.device` and in evaluation mode.

    A teacher with the same vocabulary is a model to learn the distribution of (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531). `checkpoint_folder` is for checkpoints and the loss log (`losses.jsonl`, one JSON
    object a step); training resumes from a checkpoint with the same options. The loss of `dev`, held-out pairs, is
    measured before, now and then, and after: the model ends with the weights whose loss was lowest.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, or a checkpoint of another run.
        TrainingDiverged: the loss is not a finite number.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
    """
    options.check()
    options = replace(options, precision=precision_on(context.device, options.precision))
    model.to(context.device)  # type: ignore[arg-type]
    run = _Run(model, dataset, options, context, teacher, checkpoint_folder, dev)
    resumed_from = run.resume()
    run.measure_before()
    run.loop(describe)
    progress = run.progress
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


def _window(steps: int) -> int:
    """Returns the number of steps that a mean loss of a run is over. The first and the last mean share none."""
    return max(1, min(MEAN_STEPS, steps // 2))


def first_mean(losses: Sequence[float]) -> float | None:
    return _mean(losses[: _window(len(losses))])


def last_mean(losses: Sequence[float]) -> float | None:
    """Returns the mean loss of the last steps so far: what is shown while a run goes on, and at its end."""
    return _mean(losses[-_window(len(losses)) :])


def _mean(losses: Sequence[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None


@dataclass
class _Run:
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
        epochs = self.progress.examples / len(self.dataset)
        return self.options.bounds.done(self.progress.steps, self.progress.seconds, epochs)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that a checkpoint must have: all but the bounds and the times of checkpoints."""
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
        self._check_room()
        if self.folder is None:
            return None
        found = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity)
        kept = 0
        if found is not None:
            self.progress, self.best = found
            kept = self.progress.steps
        # The log may have steps after the checkpoint, which are repeated.
        log = self.folder / LOSS_LOG
        lines = log.read_text(encoding="utf-8").splitlines()[:kept] if log.exists() else []
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if found is None:
            return None
        self.context.say(f"Resuming at step {self.progress.steps:,}{self._of_whole()} from {self.folder}")
        return self.progress.steps

    def _check_room(self) -> None:
        """Goes on without checkpoints where the disk has no room for them, and says so."""
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
        """Returns how much of the run is done, as the words after a number of steps."""
        total, unit = self._goal()
        return f" of {total:,}" if unit == "steps" else f", {round(self.done * total):,} of {total:,} {unit},"

    def measure_before(self) -> None:
        """Measures the loss on dev data before the first step, or after a resumption with other dev data."""
        if self.dev is None:
            return
        described, progress = _fingerprint(self.dev), self.progress
        if progress.dev == described:
            return
        # What was measured on other dev data says nothing.
        self.best, progress.best_loss, progress.best_step = None, None, 0
        progress.dev, progress.measured_tokens = described, progress.tokens
        progress.dev_loss_before = self._dev_loss(self.dev) if progress.steps == 0 else None

    def measure(self) -> float | None:
        """Measures the loss on dev data, and keeps the weights if it is the lowest so far."""
        if self.dev is None:
            return None
        progress, loss = self.progress, self._dev_loss(self.dev)
        progress.measured_tokens = progress.tokens
        if progress.steps and (progress.best_loss is None or loss < progress.best_loss):
            progress.best_loss, progress.best_step = loss, progress.steps
            self.best = checkpoint.weights_of(self.model)
        return loss

    def take_best(self, last_loss: float | None) -> int | None:
        """Gives the model its best weights. Returns their step, or None if they are those of the last step."""
        progress = self.progress
        if last_loss is None or progress.best_loss is None or self.best is None or progress.best_loss >= last_loss:
            return None
        checkpoint.set_weights(self.model, self.best)
        return progress.best_step

    @cached_property
    def tokens_between_measurements(self) -> float:
        """Tokens to train on between two measurements of the loss on dev data; without dev data there is none."""
        if self.dev is None:
            return math.inf
        pairs = (self.dev[index] for index in range(len(self.dev)))
        return TOKENS_BETWEEN_MEASUREMENTS * sum(len(pair.source) + len(pair.target) for pair in pairs)

    def _dev_loss(self, dev: TrainingSet) -> float:
        return dev_loss(self.model, dev, self.context, self.options.precision)

    def loop(self, describe: str) -> None:
        """Runs steps until a bound is reached or a signal arrives."""
        options, progress = self.options, self.progress
        spent_before, started = progress.seconds, time.monotonic()
        saving_seconds, saved_at, taken = 0.0, started, 0
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
            done = round(self.done * total)
            task = display.add_task(describe, total=total, completed=done, status="", unit=unit, resumed_at=done)
            try:
                while self.done < 1 and not signals:
                    tokens_before = progress.tokens
                    entry = self._step(batches)
                    taken += progress.tokens - tokens_before
                    now = time.monotonic()
                    progress.seconds = spent_before + now - started
                    self._log(entry | {"seconds": round(progress.seconds, 3)})
                    rate = taken / (now - started)
                    status = (
                        f"step {progress.steps:,}, training loss {last_mean(progress.losses):.3f}, "
                        f"learning rate {entry['learning_rate']:.1e}, {rate:,.0f} tokens/s"
                    )
                    display.update(task, completed=round(self.done * total), status=status)
                    if self._is_measured_now():
                        self.measure()
                        self.model.train()
                        # Measuring is no training: a bound in seconds does not count it.
                        started += time.monotonic() - now
                    if now - saved_at >= self._checkpoint_seconds(saving_seconds):
                        began = time.monotonic()
                        self._save()
                        saved_at = time.monotonic()
                        saving_seconds = saved_at - began
            finally:
                self.model.train(False)
            self._save()
        if signals:
            raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])

    def _is_measured_now(self) -> bool:
        """Whether the loss on dev data is due; the end of the run measures it anyway."""
        trained = self.progress.tokens - self.progress.measured_tokens
        return self.done < 1 and trained >= self.tokens_between_measurements

    def _checkpoint_seconds(self, saving_seconds: float) -> float:
        """Returns the seconds between two checkpoints: few where one takes little time, at most the option's."""
        often = max(SHORTEST_CHECKPOINT_SECONDS, saving_seconds / CHECKPOINT_SHARE)
        return min(self.options.checkpoint_seconds, often)

    def _step(self, batches: Iterator[Batch]) -> dict[str, float]:
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
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM))
        # A gradient that is not finite would change the weights before the next loss shows it.
        if not (math.isfinite(means["loss"]) and math.isfinite(norm)):
            raise TrainingDiverged(
                f"the loss is {means['loss']} and its gradient {norm} at step {progress.steps + 1}; "
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

    def _goal(self) -> tuple[int, str]:
        """Returns the end of the run for a progress display, and its unit."""
        bounds = self.options.bounds
        if bounds.max_steps is not None:
            return bounds.max_steps, "steps"
        if bounds.max_seconds is not None:
            return round(bounds.max_seconds), "s"
        return round((bounds.epochs or 0) * len(self.dataset)), "pairs"


def _fingerprint(dataset: TrainingSet) -> str:
    """Returns a hash of a data set: of all targets and the lengths of the sources, which is fast."""
    digest = hashlib.sha256()
    for example in dataset.examples:
        digest.update(f"{len(example.source)} {example.target}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def noting_signals() -> Iterator[list[int]]:
    """Yields the SIGINT or SIGTERM of the block, so that a checkpoint is written before the program ends.

    A second one raises KeyboardInterrupt. Outside of the main thread none is noted.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM) if is_main}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def keeping_freed_memory(device: str) -> Iterator[None]:
    """Keeps the memory that a training step frees for the next one, and returns it at the end. On CPUs alone.

    Each step allocates and frees the same large tensors. The C library would return them to the system and allocate
    them again, page by page, which takes a quarter of a step of a small model.
    """
    try:
        if device == "cpu":
            for option, value in KEEPING.items():
                set_malloc_option(option, value)
        yield
    finally:
        if device == "cpu":
            for option, value in USUAL.items():
                set_malloc_option(option, value)
            trim_memory()
