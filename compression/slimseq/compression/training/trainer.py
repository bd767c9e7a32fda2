"""The training loop that `train`, `prune` and `distill` share: one model, pairs of texts, optionally a teacher.

Plain torch: AdamW, gradient clipping, fp32 weights, bf16 autocast where the device has instructions for it, bounded by
steps, seconds or epochs, resumable from a checkpoint. The caller publishes the result.
"""

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import TrainingDiverged
from slimseq.compression.training import checkpoint
from slimseq.compression.training.checkpoint import Progress
from slimseq.compression.training.data.batches import Batch, endless_batches
from slimseq.compression.training.data.pairs import TrainingSet
from slimseq.compression.training.distributed import Processes
from slimseq.compression.training.dropout import dropout_rate
from slimseq.compression.training.embedded.copying import CopiedWindows, next_window
from slimseq.compression.training.forward import pad_id_of, precision_on
from slimseq.compression.training.freed_memory import keeping_freed_memory
from slimseq.compression.training.interruption import watching_for_interruption
from slimseq.compression.training.loss.dev_loss import dev_loss
from slimseq.compression.training.loss.objective import Loss, Objective
from slimseq.compression.training.options import TrainingOptions
from slimseq.compression.training.report import TrainingReport, report_of
from slimseq.compression.training.schedule import Trapezoid
from slimseq.models_store.files import writing_to

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["TrainingOptions", "TrainingReport", "train"]

BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
LOSS_LOG = "losses.jsonl"


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
        dataset: training pairs.
        options: how to train.
        context: seed, device and progress.
        teacher: a model with the same vocabulary to learn the distribution of (Hinton et al. 2015,
            https://arxiv.org/abs/1503.02531), and the hidden states and attention if the options weigh them; None
            trains on labels only. With `alpha` 0 it may have more tokens, if the student's have the same ids in it.
        checkpoint_folder: for checkpoints and the loss log (`losses.jsonl`, one JSON object a step). Training resumes
            from a checkpoint with the same options. None writes neither.
        dev: held-out pairs; their loss is measured before and after.
        describe: the text of the progress bar.
        kept_layers: the teacher's layers that the model was made from, for the `encoder` and the `decoder`. Hidden
            states and attention are compared with them; None compares with evenly spaced layers.

    Returns:
        The report of the run.

    Raises:
        BadParameters: options out of range, a teacher of another vocabulary, or a checkpoint of another run.
        BadData: the texts are too short to begin with copying.
        TrainingDiverged: the loss is not a finite number.
        KeyboardInterrupt, SystemExit: on SIGINT and SIGTERM, after a checkpoint was written.
        SystemExit: with code 0 at the end of a distributed run, in every process but the main one.
    """
    options.check()
    processes = Processes.launched(context.device) if options.distributed else Processes()
    context = processes.context(context)
    options = replace(options, precision=precision_on(context.device, options.precision))
    model.to(context.device)  # type: ignore[arg-type]
    run = _Run(model, dataset, options, context, processes, teacher, checkpoint_folder, kept_layers)
    resumed_from = run.resume()
    before = dev_loss(model, dev, context, options.precision) if dev and resumed_from is None else None
    run.loop(describe)
    processes.part()
    after = dev_loss(model, dev, context, options.precision) if dev else None
    return report_of(run.progress, options.precision, before, after, resumed_from)


class _Run:
    """The state of one run."""

    def __init__(
        self,
        model: "PreTrainedModel",
        dataset: TrainingSet,
        options: TrainingOptions,
        context: Context,
        processes: Processes,
        teacher: "PreTrainedModel | None",
        folder: Path | None,
        kept_layers: Mapping[str, Sequence[int]] | None,
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.options = options
        self.context = context
        self.processes = processes
        self.has_teacher = teacher is not None
        if teacher is not None:
            teacher.to(context.device)  # type: ignore[arg-type]
            teacher.train(False)
        self.kept_layers = {name: list(layers) for name, layers in (kept_layers or {}).items()}
        self.folder = folder
        self.objective = Objective(model, teacher, options, context.device, context.seed, kept_layers)
        self.parameters = [*model.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=options.learning_rate, betas=BETAS, weight_decay=options.weight_decay, fused=True
        )
        begin_id = getattr(model.config, "bos_token_id", None)
        self.copies = CopiedWindows(dataset, options.tokens_per_batch, pad_id_of(model), begin_id, context.seed)
        self.progress = Progress()
        self.schedule = Trapezoid(options.warmup_steps, options.decay_fraction)

    @property
    def done(self) -> float:
        """Completed fraction of the run."""
        epochs = self.progress.examples / len(self.dataset)
        return self.options.bounds.done(self.progress.steps, self.progress.seconds, epochs)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that a checkpoint must have: all but the bounds and the times of checkpoints."""
        options = asdict(self.options)
        for name in ("bounds", "checkpoint_seconds", "checkpoint_steps", "distributed"):
            del options[name]
        return options | {
            # Batches of a step, over all processes.
            "accumulation": self.options.accumulation * self.processes.count,
            "seed": self.context.seed,
            "pairs": len(self.dataset),
            "data": _fingerprint(self.dataset),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "has_teacher": self.has_teacher,
            "kept_layers": self.kept_layers,
        }

    def resume(self) -> int | None:
        """Resumes from the folder's checkpoint; returns its step, or None for a new run."""
        torch.manual_seed(self.context.seed)
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = checkpoint.resume(self.folder, self.model, self.optimizer, self.identity, self.objective.projection)
        if self.processes.is_main:
            # The log may have steps after the checkpoint, which are repeated.
            log = self.folder / LOSS_LOG
            kept = log.read_text(encoding="utf-8").splitlines()[: progress.steps] if progress and log.exists() else []
            log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self.processes.wait()
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
        if not self.processes.is_main:
            # Each process has its own dropout, as the batches of one process would have.
            torch.manual_seed(hash((self.context.seed, self.processes.rank, progress.steps)))
        self.model.train()
        with (
            keeping_freed_memory(self.context.device),
            dropout_rate(self.model, options.dropout, self.objective.looks_at_attention),
            watching_for_interruption() as interruption,
            self.context.progress() as display,
        ):
            done = self._completed()
            task = display.add_task(
                describe, total=self._total(), completed=done, status="", unit=self._unit(), resumed_at=done
            )
            try:
                while self.done < 1 and not interruption.is_wanted:
                    tokens_before = progress.tokens
                    entry = self._step(batches)
                    taken += progress.tokens - tokens_before
                    now = time.monotonic()
                    # All processes must agree whether the run is over.
                    agreed = self.processes.most(
                        {"seconds": spent_before + now - started, "signal": interruption.signal or 0}
                    )
                    progress.seconds, interruption.signal = agreed["seconds"], int(agreed["signal"]) or None
                    self._log(entry | {"seconds": round(progress.seconds, 3)})
                    rate = taken / (now - started)
                    status = (
                        f"step {progress.steps:,}, loss {entry['loss']:.3f}, "
                        f"learning rate {entry['learning_rate']:.1e}, {rate:,.0f} tokens/s"
                    )
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
        sums = defaultdict[str, float](float)
        for index in range(options.accumulation):
            batch, loss = self._copied(index) if is_copying else self._learned(batches)
            (loss.total / options.accumulation).backward()  # type: ignore[no-untyped-call]
            sums["tokens"] += batch.tokens
            sums["accuracy"] += (loss.accuracy or 0.0) / options.accumulation
            for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
                sums[name] += float(value) / options.accumulation
        self.processes.average_gradients(self.parameters)
        means = self.processes.mean(sums)
        accuracy, tokens, loss_mean = means.pop("accuracy"), means.pop("tokens"), means["loss"]
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM))
        # A gradient that is not finite would change the weights before the next loss shows it.
        if not (math.isfinite(loss_mean) and math.isfinite(norm)):
            raise TrainingDiverged(
                f"the loss is {loss_mean} and its gradient {norm} at step {progress.steps + 1}; "
                f"lower the learning rate (now {rate:.1e})"
            )
        self.optimizer.step()
        progress.steps += 1
        progress.tokens += round(tokens * self.processes.count)
        progress.losses.append(loss_mean)
        entry = {"step": progress.steps, **means, "learning_rate": rate, "tokens": progress.tokens}
        if is_copying:
            entry |= {"accuracy": accuracy, "window": int(progress.copied_window)}
            progress.copied_window = next_window(progress.copied_window, accuracy)
        return entry

    def _learned(self, batches: Iterator[Batch]) -> tuple[Batch, Loss]:
        # One batch a process: every process makes all batches and uses its own.
        group = list(islice(batches, self.processes.count))
        self.progress.examples += sum(batch.rows for batch in group)
        self.progress.position = group[-1].after
        batch = group[self.processes.rank]
        return batch, self.objective.loss(batch.to(self.context.device))

    def _copied(self, index: int) -> tuple[Batch, Loss]:
        progress, processes = self.progress, self.processes
        number = (progress.steps * self.options.accumulation + index) * processes.count + processes.rank
        batch = self.copies.batch(number, progress.copied_window, progress.position)
        with dropout_rate(self.model, 0.0, is_attention_kept=True):
            return batch, self.objective.copying_loss(batch.to(self.context.device))

    def _is_time_to_save(self, seconds: float) -> bool:
        every = self.options.checkpoint_steps
        return seconds >= self.options.checkpoint_seconds or (every is not None and self.progress.steps % every == 0)

    def _save(self) -> None:
        if self.folder is not None and self.progress.steps and self.processes.is_main:
            with writing_to(self.folder):
                checkpoint.save_checkpoint(
                    self.folder, self.model, self.optimizer, self.progress, self.identity, self.objective.projection
                )

    def _log(self, entry: dict[str, float]) -> None:
        if self.folder is not None and self.processes.is_main:
            log = self.folder / LOSS_LOG
            with writing_to(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _total(self) -> int:
        bounds = self.options.bounds
        if bounds.max_steps is not None:
            return bounds.max_steps
        if bounds.max_seconds is not None:
            return round(bounds.max_seconds)
        return round((bounds.epochs or 0) * len(self.dataset))

    def _unit(self) -> str:
        bounds = self.options.bounds
        if bounds.max_steps is not None:
            return "steps"
        return "pairs" if bounds.max_seconds is None else "s"

    def _completed(self) -> int:
        return round(self.done * self._total())


def _fingerprint(dataset: TrainingSet) -> str:
    """Returns a hash of a data set: of all targets and the lengths of the sources, which is fast."""
    digest = hashlib.sha256()
    for example in dataset.examples:
        digest.update(f"{len(example.source)} {example.target}\n".encode())
    return digest.hexdigest()[:16]
