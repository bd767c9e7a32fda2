"""Which of a teacher's layers each layer of a student is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import layer_counts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LayerMap:
    """For each layer of the student, a layer of the teacher, counted from 0."""

    encoder: tuple[int, ...]
    decoder: tuple[int, ...]


def layer_map(
    student: "PreTrainedModel", teacher: "PreTrainedModel", kept: Mapping[str, Sequence[int]] | None = None
) -> LayerMap:
    """Returns the layers that are compared.

    Args:
        student: of any family.
        teacher: of any family.
        kept: the teacher's layers that the student was made from, by stack; None spreads the student's evenly so that
            the last meets the last, TinyBERT's uniform strategy (https://arxiv.org/abs/1909.10351, section 4.1).

    Raises:
        BadParameters: `kept` does not fit the models.
    """
    found: dict[str, tuple[int, ...]] = {}
    teacher_counts = layer_counts(teacher)
    for stack, layers in layer_counts(student).items():
        teacher_layers = teacher_counts[stack]
        chosen = [(layer + 1) * teacher_layers // layers - 1 for layer in range(layers)]
        mapped = tuple(max(0, layer) for layer in chosen) if kept is None else tuple(kept[stack])
        if len(mapped) != layers or not all(0 <= layer < teacher_layers for layer in mapped):
            raise BadParameters(
                f"{layers} {stack} layers cannot be compared with the layers "
                f"{', '.join(str(layer) for layer in mapped)} of {teacher_layers}"
            )
        found[stack] = mapped
    return LayerMap(found["encoder"], found["decoder"])
