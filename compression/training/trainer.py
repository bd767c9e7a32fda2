"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

Plain torch: AdamW, gradient clipping, bf16 autocast over fp32 weights, bounded by steps, seconds or epochs, resumable
from a checkpoint. Publishing the result is the caller's.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from compression.context import Context
from compression.errors import BadParameters, TrainingDiverged
from compression.training import checkpoint
from compression.training.batches import Batch, endless_batches
from compression.training.checkpoint import Progress
from compression.training.data import TrainingSet
from compression.training.dropout import dropout_rate
from compression.training.forward import autocast, dev_loss, logits_of, pad_id_of
from compression.training.interruption import watching_for_interruption
from compression.training.losses import distillation_loss, label_smoothed_cross_entropy
from compression.training.options import TrainingOptions
from compression.training.schedule import Trapezoid

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["TrainingOptions", "TrainingReport", "train"]

BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
# First and last mean losses are over so many steps, or fewer where the run was shorter.
MEAN_STEPS = 20
LOSS_LOG = "losses.jsonl"


@dataclass(frozen=True)
class TrainingReport:
    """What a run did. Losses are means in nats a target token.

    `first_loss` and `last_loss` are over the first and last 20 steps and include label smoothing and the teacher's
    part; `dev_loss_before` (None after a resumption) and `dev_loss_after` are plain cross entropy. `tokens` counts ids
    of both sides without padding. `resumed_from` is the step of the checkpoint that the run went on from.
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

    Args:
        model: a T5 or BART for conditional generation, fp32.
        dataset: what to train on.
        options: how.
        context: seed, device and progress.
        teacher: a model with the same vocabulary whose distribution is learned too (Hinton et al. 2015,
            https://arxiv.org/abs/1503.02531); None trains on labels alone.
        checkpoint_folder: checkpoints and the loss log (`losses.jsonl`, one JSON object a step) go here; a checkpoint
            of the same options that is there is resumed. None keeps neither.
        dev: its loss is measured before and after.
        describe: what the progress bar says.

    Returns:
        What was done.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, or a checkpoint of another run.
        TrainingDiverged: the loss stopped being a number.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
    """
    options.check()
    if teacher is not None and teacher.config.vocab_size != model.config.vocab_size:
        raise BadParameters(
            f"the teacher has {teacher.config.vocab_size} tokens and the student {model.config.vocab_size}"
        )
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
        dev_loss_before=before,
        dev_loss_after=after,
        resumed_from=resumed_from,
    )


class _Run:
    """One run's moving parts."""

    def __init__(
        self,
        model: "PreTrainedModel",
        dataset: TrainingSet,
        options: TrainingOptions,
        context: Context,
        teacher: "PreTrainedModel | None",
        folder: Path | None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.options = options
        self.context = context
        self.teacher = teacher
        if teacher is not None:
            teacher.to(context.device)  # type: ignore[arg-type]
            teacher.train(False)
        self.folder = folder
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=options.learning_rate, betas=BETAS, weight_decay=options.weight_decay
        )
        self.progress = Progress()
        self.schedule = Trapezoid(options.warmup_steps, options.decay_fraction)

    @property
    def done(self) -> float:
        """Fraction of the run that is over."""
        epochs = self.progress.examples / len(self.dataset)
        return self.options.bounds.done(self.progress.steps, self.progress.seconds, epochs)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in: all but the bounds, which may be moved, and when checkpoints are written."""
        options = asdict(self.options)
        for name in ("bounds", "checkpoint_seconds", "checkpoint_steps"):
            del options[name]
        return options | {
            "seed": self.context.seed,
            "pairs": len(self.dataset),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "has_teacher": self.teacher is not None,
        }

    def resume(self) -> int | None:
        """Takes up the folder's checkpoint; returns its step, or None after seeding for a fresh start."""
        torch.manual_seed(self.context.seed)
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity)
        # The log may hold steps after the checkpoint, which are about to be taken again.
        log = self.folder / LOSS_LOG
        kept = log.read_text(encoding="utf-8").splitlines()[: progress.steps] if progress and log.exists() else []
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        if progress is None:
            return None
        self.progress = progress
        self.context.say(f"Resuming from step {progress.steps} in {self.folder}")
        return progress.steps

    def loop(self, describe: str) -> None:
        """Takes steps until a bound is reached or somebody interrupts."""
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
            dropout_rate(self.model, options.dropout),
            watching_for_interruption() as interruption,
            self.context.progress() as display,
        ):
            task = display.add_task(describe, total=self._total(), completed=self._completed(), status="")
            try:
                while self.done < 1 and not interruption.is_wanted:
                    tokens_before = progress.tokens
                    entry = self._step(batches)
                    taken += progress.tokens - tokens_before
                    now = time.monotonic()
                    progress.seconds = spent_before + now - started
                    self._log(entry | {"seconds": round(progress.seconds, 3)})
                    rate = taken / (now - started)
                    status = f"loss {entry['loss']:.3f}, rate {entry['learning_rate']:.1e}, {rate:,.0f} tokens/s"
                    display.update(task, completed=self._completed(), status=status)
                    if self._is_time_to_save(now - saved_at):
                        self._save()
                        saved_at = time.monotonic()
            finally:
                self.model.train(False)
            self._save()
        interruption.leave()

    def _step(self, batches: Iterator[Batch]) -> dict[str, float]:
        options, progress = self.options, self.progress
        rate = options.learning_rate * self.schedule.factor(progress.steps, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum, tokens = 0.0, 0
        for _ in range(options.accumulation):
            batch = next(batches)
            loss = self._loss(batch.to(self.context.device)) / options.accumulation
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
            progress.examples += batch.rows
            progress.position = batch.after
            tokens += batch.tokens
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM))
        # A gradient that is no number would be in the weights before the next loss shows it.
        if not (math.isfinite(loss_sum) and math.isfinite(norm)):
            raise TrainingDiverged(
                f"the loss is {loss_sum} and its gradient {norm} at step {progress.steps + 1}; "
                f"lower the learning rate (now {rate:.1e})"
            )
        self.optimizer.step()
        progress.steps += 1
        progress.tokens += tokens
        progress.losses.append(loss_sum)
        return {"step": progress.steps, "loss": loss_sum, "learning_rate": rate, "tokens": progress.tokens}

    def _loss(self, batch: Batch) -> torch.Tensor:
        options = self.options
        with autocast(self.context.device, options.precision):
            logits = logits_of(self.model, batch)
            if self.teacher is None:
                return label_smoothed_cross_entropy(logits, batch.labels, options.label_smoothing)
            with torch.no_grad():
                wanted = logits_of(self.teacher, batch)
            # Once, here: both losses compute in fp32.
            logits = logits.float()
            from_labels = label_smoothed_cross_entropy(logits, batch.labels, options.label_smoothing)
            from_teacher = distillation_loss(logits, wanted, batch.labels, options.temperature)
            return (1 - options.alpha) * from_labels + options.alpha * from_teacher

    def _is_time_to_save(self, seconds: float) -> bool:
        every = self.options.checkpoint_steps
        return seconds >= self.options.checkpoint_seconds or (every is not None and self.progress.steps % every == 0)

    def _save(self) -> None:
        if self.folder is not None and self.progress.steps:
            checkpoint.save_checkpoint(self.folder, self.model, self.optimizer, self.progress, self.identity)

    def _log(self, entry: dict[str, float]) -> None:
        if self.folder is not None:
            with (self.folder / LOSS_LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _total(self) -> int:
        bounds = self.options.bounds
        if bounds.max_steps is not None:
            return bounds.max_steps
        if bounds.max_seconds is not None:
            return round(bounds.max_seconds)
        return round((bounds.epochs or 0) * len(self.dataset))

    def _completed(self) -> int:
        return round(self.done * self._total())


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
