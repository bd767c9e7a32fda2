"""The state of one training: the model, its optimizer and its progress. One step, losses on dev data, checkpoints.

`trainer` has the loop. `loss` computes the loss, and `checkpoint` reads and writes checkpoints.
"""

import hashlib
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.context import Context
from slimseq.compression.errors import TrainingDiverged
from slimseq.compression.train import checkpoint
from slimseq.compression.train.checkpoint import RunProgress
from slimseq.compression.train.data.batches import Batch
from slimseq.compression.train.data.training_data import TrainingSet
from slimseq.compression.train.loss import Objective, dev_loss
from slimseq.compression.train.schedule import learning_rate_factor
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.models_store.files import writing_to

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# AdamW's betas, as in Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762, section 5.3).
BETAS = (0.9, 0.98)
CLIP_NORM = 1.0
# Tokens to train on between two measurements of the loss on dev data, as a multiple of the tokens of the dev data. A
# token takes about a third as long to measure as to train on, so measuring takes less than a tenth of the time.
TOKENS_BETWEEN_MEASUREMENTS = 5
# Checkpoints are written as often as they take this share of the time, but not more often than this number of seconds.
# `checkpoint_seconds` bounds the time between two of them from above.
CHECKPOINT_SHARE = 0.02
SHORTEST_CHECKPOINT_SECONDS = 15.0
LOSS_LOG = "losses.jsonl"


@dataclass
class TrainingRun:
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
        total, unit = self.goal()
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

    def is_measured_now(self) -> bool:
        """Whether the loss on dev data is due. `train` measures it after the last step."""
        tokens_since = self.progress.tokens - self.progress.measured_tokens
        return self.done < 1 and tokens_since >= self.tokens_between_measurements

    def checkpoint_seconds(self, saving_seconds: float) -> float:
        """Returns the seconds between two checkpoints, given how long the last one took to write."""
        affordable = max(SHORTEST_CHECKPOINT_SECONDS, saving_seconds / CHECKPOINT_SHARE)
        return min(self.options.checkpoint_seconds, affordable)

    def step(self, batches: Iterator[Batch]) -> dict[str, float]:
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

    def save(self) -> None:
        if self.folder is not None and self.progress.steps:
            with writing_to(self.folder):
                checkpoint.save_checkpoint(
                    self.folder, self.model, self.optimizer, self.progress, self.identity, self.best
                )

    def log(self, entry: dict[str, float]) -> None:
        if self.folder is not None:
            log = self.folder / LOSS_LOG
            with writing_to(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def shown(self, total: int, unit: str) -> int:
        """Returns how much of a goal is done, for a progress display."""
        return self.progress.steps if unit == "steps" else round(self.done * total)

    def goal(self) -> tuple[int, str]:
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
