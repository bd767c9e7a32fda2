"""How to train: the options of one run, checked before it starts."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from cyclopts import Parameter

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import DISTILLATION, SEQUENCE_LEVEL, TRAINING, flat
from slimseq.compression.train.schedule import Bounds

Precision = Literal["auto", "bf16", "fp32"]
IN_DISTILLATION = Parameter(group=DISTILLATION)
# The file of a teacher's outputs, in the build folder.
CACHE = "teacher_outputs.jsonl"


@flat(SEQUENCE_LEVEL)
@dataclass(frozen=True)
class SequenceLevel:
    """Whether a model learns from outputs that a teacher generates, and from how many."""

    sequence_level: Literal["off", "replace", "add"] = "off"
    """Whether the teacher's beam search outputs replace the written targets, or are added to them."""
    sequence_beams: int = 4
    """Number of beams of the teacher's search."""
    sequence_teacher: str = ""
    """Variant that generates the outputs. By default the variant to start from."""


@flat(TRAINING)
@dataclass(frozen=True)
class TrainingOptions:
    """How to train."""

    bounds: Bounds = field(default_factory=Bounds)
    learning_rate: float = 3e-4
    """Peak learning rate."""
    warmup_steps: int = 50
    """Steps until the learning rate reaches its peak. A short run warms up over its first tenth instead."""
    decay_fraction: float = 0.3
    """Share of the run, at its end, over which the learning rate falls to 0."""
    tokens_per_batch: int = 2048
    """Maximum size of a batch: its number of rows times its longest side, in tokens."""
    accumulation: int = 1
    """Number of batches whose gradients are accumulated for one step."""
    label_smoothing: float = 0.1
    """Label smoothing of the cross entropy."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    precision: Precision = "auto"
    """Precision of the forward pass: bf16 autocast or fp32. `auto` is bf16 on a CPU or GPU with instructions for it."""
    dropout: float | None = None
    """Dropout of hidden states. By default the model's own."""
    alpha: Annotated[float, IN_DISTILLATION] = 0.5
    """Weight of the distillation loss; the loss on labels has 1 - alpha. 0 is shrink and fine-tune."""
    temperature: Annotated[float, IN_DISTILLATION] = 1.0
    """Temperature of the teacher's and the student's distributions."""
    checkpoint_seconds: float = 300.0
    """Seconds between two checkpoints."""

    def check(self) -> None:
        if not self.bounds.is_bounded:
            raise BadParameters("training needs an end: give a number of steps, seconds or epochs")
        rules = {
            "learning rate": self.learning_rate > 0,
            "tokens per batch": self.tokens_per_batch > 0,
            "accumulation": self.accumulation > 0,
            "warm-up steps": self.warmup_steps >= 0,
            "decay fraction": 0 <= self.decay_fraction <= 1,
            "label smoothing": 0 <= self.label_smoothing < 1,
            "dropout": self.dropout is None or 0 <= self.dropout < 1,
            "alpha": 0 <= self.alpha <= 1,
            "temperature": self.temperature > 0,
        }
        wrong = [name for name, holds in rules.items() if not holds]
        if wrong:
            raise BadParameters(f"out of range: {', '.join(wrong)}")
