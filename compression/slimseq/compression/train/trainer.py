"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

Plain torch: AdamW, gradient clipping, fp32 weights, bf16 autocast where the device has instructions for it, bounded by
steps, seconds or epochs, resumable from a checkpoint. The caller publishes the result.
"""

import hashlib
import json
import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
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
from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.forward import dropout_rate, pad_id_of, precision_on
from slimseq.compression.train.loss import Objective, dev_loss
from slimseq.compression.train.options import TrainingOptions
from slimseq.compression.train.report import TrainingReport
from slimseq.compression.train.schedule import learning_rate_factor
from slimseq.evaluation.host import M_TRIM_THRESHOLD, set_malloc_option, trim_memory
from slimseq.models_store.files import writing_to

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
# Number of steps that the first and the last mean loss are over; fewer if the run is shorter.
MEAN_STEPS = 20
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
    measured before and after.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, or a checkpoint of another run.
        TrainingDiverged: the loss is not a finite number.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
    """
    options.check()
    options = replace(options, precision=precision_on(context.device, options.precision))
    model.to(context.device)  # type: ignore[arg-type]
    run = _Run(model, dataset, options, context, teacher, checkpoint_folder)
    resumed_from = run.resume()
    before = dev_loss(model, dev, context, options.precision) if dev and resumed_from is None else None
    run.loop(describe)
    after = dev_loss(model, dev, context, options.precision) if dev else None
    progress = run.progress
    return TrainingReport(
        steps=progress.steps,
        seconds=round(progress.seconds, 3),
        tokens=progress.tokens,
        tokens_per_second=round(progress.tokens / progress.seconds, 1) if progress.seconds else 0.0,
        first_loss=_mean(progress.losses[:MEAN_STEPS]),
        last_loss=_mean(progress.losses[-MEAN_STEPS:]),
        precision=options.precision,
        dev_loss_before=before,
        dev_loss_after=after,
        resumed_from=resumed_from,
    )


def _mean(losses: list[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None


@dataclass
class _Run:
    model: "PreTrainedModel"
    dataset: TrainingSet
    options: TrainingOptions
    context: Context
    teacher: "PreTrainedModel | None"
    folder: Path | None
    progress: RunProgress = field(default_factory=RunProgress)

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
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity)
        # The log may have steps after the checkpoint, which are repeated.
        log = self.folder / LOSS_LOG
        kept = log.read_text(encoding="utf-8").splitlines()[: progress.steps] if progress and log.exists() else []
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        if progress is None:
            return None
        self.progress = progress
        self.context.say(f"Resuming from step {progress.steps} in {self.folder}")
        return progress.steps

    def loop(self, describe: str) -> None:
        """Runs steps until a bound is reached or a signal arrives."""
        options, progress = self.options, self.progress
        spent_before, started = progress.seconds, time.monotonic()
        saved_at, taken = started, 0
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
                        f"step {progress.steps:,}, loss {entry['loss']:.3f}, "
                        f"learning rate {entry['learning_rate']:.1e}, {rate:,.0f} tokens/s"
                    )
                    display.update(task, completed=round(self.done * total), status=status)
                    if now - saved_at >= options.checkpoint_seconds:
                        self._save()
                        saved_at = time.monotonic()
            finally:
                self.model.train(False)
            self._save()
        if signals:
            raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])

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
                checkpoint.save_checkpoint(self.folder, self.model, self.optimizer, self.progress, self.identity)

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
        for option, value in KEEPING.items() if device == "cpu" else ():
            set_malloc_option(option, value)
        yield
    finally:
        if device == "cpu":
            for option, value in USUAL.items():
                set_malloc_option(option, value)
            trim_memory()
