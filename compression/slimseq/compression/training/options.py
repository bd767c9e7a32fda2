"""How to train: the options of one run, checked before it starts."""

from dataclasses import dataclass
from typing import Literal

from slimseq.compression.errors import BadParameters
from slimseq.compression.training.schedule import Bounds

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Args:
        bounds: what ends the run.
        learning_rate: its peak.
        warmup_steps: steps until the peak; a short run warms up over its first tenth instead.
        decay_fraction: share of the run, at its end, over which the rate falls to 0.
        tokens_per_batch: bound of rows times the longest side of a batch.
        accumulation: batches whose gradients make one step.
        label_smoothing: of the cross entropy with the labels.
        weight_decay: AdamW's.
        precision: `bf16` autocast, or `fp32`.
        dropout: of hidden states; None keeps what the model's configuration says.
        alpha: weight of the teacher's loss, that of the labels being 1 - alpha; unused without a teacher. With 0 and no
            other teacher's loss this is shrink and fine-tune.
        temperature: softens the teacher's and the student's distributions.
        hidden_states: weight of the difference to the teacher's hidden states; 0 is off.
        attention: weight of the difference to the teacher's attention; 0 is off.
        guided_alignment: weight of the loss that points one head at the source token to copy next; 0 is off.
        guided_layers: decoder layers whose first head is guided, counted from 0; none takes the middle ones.
        copy_warmup_steps: first steps, in which only windows of the sources are copied; for T5 from scratch.
        distributed: whether processes that `accelerate launch` or `torchrun` started train together.
        checkpoint_seconds: time between two checkpoints.
        checkpoint_steps: steps between two checkpoints; None goes by time alone.
    """

    bounds: Bounds
    learning_rate: float = 3e-4
    warmup_steps: int = 50
    decay_fraction: float = 0.3
    tokens_per_batch: int = 2048
    accumulation: int = 1
    label_smoothing: float = 0.1
    weight_decay: float = 0.01
    precision: Precision = "bf16"
    dropout: float | None = None
    alpha: float = 0.5
    temperature: float = 1.0
    hidden_states: float = 0.0
    attention: float = 0.0
    guided_alignment: float = 0.0
    guided_layers: tuple[str, ...] = ()
    copy_warmup_steps: int = 0
    distributed: bool = False
    checkpoint_seconds: float = 300.0
    checkpoint_steps: int | None = None

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss asks a teacher."""
        return self.alpha > 0 or self.hidden_states > 0 or self.attention > 0

    def check(self) -> None:
        """Checks that the options make sense.

        Raises:
            BadParameters: one is out of range, or nothing ends the run.
        """
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
            "hidden states": self.hidden_states >= 0,
            "attention": self.attention >= 0,
            "guided alignment": self.guided_alignment >= 0,
            "guided layers": all(layer.isdecimal() for layer in self.guided_layers),
            "copy warm-up steps": self.copy_warmup_steps >= 0,
        }
        wrong = [name for name, holds in rules.items() if not holds]
        if wrong:
            raise BadParameters(f"out of range: {', '.join(wrong)}")
