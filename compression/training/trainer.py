"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

Plain torch: AdamW, gradient clipping, bf16 autocast over fp32 weights, bounded by steps, seconds or epochs, resumable
from a checkpoint. Publishing the result is the caller's.
"""

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from compression.context import Context
from compression.errors import TrainingDiverged
from compression.training import checkpoint
from compression.training.batches import Batch, endless_batches
from compression.training.checkpoint import Progress
from compression.training.copying import CopiedWindows, next_window
from compression.training.data import TrainingSet
from compression.training.dropout import dropout_rate
from compression.training.forward import dev_loss, pad_id_of
from compression.training.interruption import watching_for_interruption
from compression.training.objective import Loss, Objective
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
    kept_layers: Mapping[str, Sequence[int]] | None = None,
) -> TrainingReport:
    """Trains a model in place; afterwards it is on `context.device` and in evaluation mode.

    Args:
        model: a T5 or BART for conditional generation, fp32.
        dataset: what to train on.
        options: how.
        context: seed, device and progress.
        teacher: a model with the same vocabulary whose distribution is learned too (Hinton et al. 2015,
            https://arxiv.org/abs/1503.02531), and its hidden states and attention where the options weigh them; None
            trains on labels alone. With `alpha` 0 it may have more tokens, if the student's have the same ids in it.
        checkpoint_folder: checkpoints and the loss log (`losses.jsonl`, one JSON object a step) go here; a checkpoint
            of the same options that is there is resumed. None keeps neither.
        dev: its loss is measured before and after.
        describe: what the progress bar says.
        kept_layers: the teacher's layers that the model was made from, for the `encoder` and the `decoder`: what its
            hidden states and attention are compared with; None compares with evenly spread ones.

    Returns:
        What was done.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, or a checkpoint of another run.
        BadData: the texts are too short to begin with copying.
        TrainingDiverged: the loss stopped being a number.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
    """
    options.check()
    model.to(context.device)  # type: ignore[arg-type]
    run = _Run(model, dataset, options, context, teacher, checkpoint_folder, kept_layers)
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
        kept_layers: Mapping[str, Sequence[int]] | None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.options = options
        self.context = context
        self.has_teacher = teacher is not None
        if teacher is not None:
            teacher.to(context.device)  # type: ignore[arg-type]
            teacher.train(False)
        self.kept_layers = {name: list(layers) for name, layers in (kept_layers or {}).items()}
        self.folder = folder
        self.objective = Objective(model, teacher, options, context.device, context.seed, kept_layers)
        self.parameters = [*model.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=options.learning_rate, betas=BETAS, weight_decay=options.weight_decay
        )
        self.copies = CopiedWindows(
            dataset, options.tokens_per_batch, pad_id_of(model), model.config.bos_token_id, context.seed
        )
        self.progress = Progress()
        self.schedule = Trapezoid(options.warmup_steps, options.decay_fraction)

    @property
    def done(self) -> float:
        """Fraction of the run that is over."""
        epochs = self.progress.examples / len(self.dataset)
        return self.options.bounds.done(self.progress.steps, self.progress.seconds, epochs)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in: all but the bounds, which may be moved, and when checkpoints are written."""
        options = asdict(self.options)
        for name in ("bounds", "checkpoint_seconds", "checkpoint_steps"):
            del options[name]
        return options | {
            "seed": self.context.seed,
            "pairs": len(self.dataset),
            "data": _fingerprint(self.dataset),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "has_teacher": self.has_teacher,
            "kept_layers": self.kept_layers,
        }

    def resume(self) -> int | None:
        """Takes up the folder's checkpoint; returns its step, or None after seeding for a fresh start."""
        torch.manual_seed(self.context.seed)
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity, self.objective.projection)
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
            dropout_rate(self.model, options.dropout, self.objective.looks_at_attention),
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
        is_copying = progress.steps < options.copy_warmup_steps
        tokens, sums = 0, defaultdict[str, float](float)
        for index in range(options.accumulation):
            batch, loss = self._copied(index) if is_copying else self._learned(batches)
            (loss.total / options.accumulation).backward()  # type: ignore[no-untyped-call]
            tokens += batch.tokens
            for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
                sums[name] += float(value) / options.accumulation
            sums["accuracy"] += (loss.accuracy or 0.0) / options.accumulation
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM))
        # A gradient that is no number would be in the weights before the next loss shows it.
        if not (math.isfinite(sums["loss"]) and math.isfinite(norm)):
            raise TrainingDiverged(
                f"the loss is {sums['loss']} and its gradient {norm} at step {progress.steps + 1}; "
                f"lower the learning rate (now {rate:.1e})"
            )
        self.optimizer.step()
        progress.steps += 1
        progress.tokens += tokens
        progress.losses.append(sums["loss"])
        accuracy = sums.pop("accuracy")
        entry = {"step": progress.steps, **sums, "learning_rate": rate, "tokens": progress.tokens}
        if is_copying:
            entry |= {"accuracy": accuracy, "window": int(progress.copied_window)}
            progress.copied_window = next_window(progress.copied_window, accuracy)
        return entry

    def _learned(self, batches: Iterator[Batch]) -> tuple[Batch, Loss]:
        batch = next(batches)
        self.progress.examples += batch.rows
        self.progress.position = batch.after
        return batch, self.objective.loss(batch.to(self.context.device))

    def _copied(self, index: int) -> tuple[Batch, Loss]:
        progress = self.progress
        number = progress.steps * self.options.accumulation + index
        batch = self.copies.batch(number, progress.copied_window, progress.position)
        with dropout_rate(self.model, 0.0, is_attention_kept=True):
            return batch, self.objective.copying_loss(batch.to(self.context.device))

    def _is_time_to_save(self, seconds: float) -> bool:
        every = self.options.checkpoint_steps
        return seconds >= self.options.checkpoint_seconds or (every is not None and self.progress.steps % every == 0)

    def _save(self) -> None:
        if self.folder is not None and self.progress.steps:
            checkpoint.save_checkpoint(
                self.folder, self.model, self.optimizer, self.progress, self.identity, self.objective.projection
            )

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


def _fingerprint(dataset: TrainingSet) -> str:
    """Returns a hash that tells data sets apart: of all targets and of the sources' lengths, which is quick."""
    digest = hashlib.sha256()
    for example in dataset.examples:
        digest.update(f"{len(example.source)} {example.target}\n".encode())
    return digest.hexdigest()[:16]


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
