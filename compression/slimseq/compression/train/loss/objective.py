"""The loss of one run: a weighted sum of parts, and the outputs of student and teacher that they need."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import layer_counts
from slimseq.compression.train.data.batches import IGNORED_LABEL, Batch
from slimseq.compression.train.embedded.copy_alignment import copy_alignments
from slimseq.compression.train.forward import autocast, output_of
from slimseq.compression.train.loss.losses import (
    attention_loss,
    distillation_loss,
    guided_alignment_loss,
    hidden_state_loss,
    label_smoothed_cross_entropy,
)
from slimseq.compression.train.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GUIDED_HEAD = 0
COPYING_WEIGHT = 0.5


@dataclass(frozen=True)
class LayerMap:
    """For each layer of the student, a layer of the teacher, counted from 0."""

    encoder: tuple[int, ...]
    decoder: tuple[int, ...]


@dataclass(frozen=True)
class Loss:
    """The loss of one batch: the total to minimize, and its parts without their weights, scalars, float32.

    `accuracy` is the share of target tokens that are the most probable ones; only for copying.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    accuracy: float | None = None


class Objective:
    """Computes a run's loss.

    Args:
        model: the student, on its device; its attention becomes eager if a loss needs attention weights.
        teacher: on the same device, without dropout; None if the model learns from labels only.
        options: weights of the parts.
        device: of both.
        seed: of the projection between hidden states of different widths.
        kept: the teacher's layers that the student was made from, by stack; None compares evenly spaced layers.

    Raises:
        BadParameters: the teacher cannot teach this student, or a guided layer is not there.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        teacher: "PreTrainedModel | None",
        options: TrainingOptions,
        device: str,
        seed: int = 0,
        kept: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._model = model
        self._teacher = teacher if options.needs_teacher else None
        self._options = options
        self._device = device
        self._layers: LayerMap | None = None
        self.projection: torch.nn.Linear | None = None
        self._guided_layers = _guided_layers(options, layer_counts(model)["decoder"])
        if self._teacher is not None:
            _check_teacher(model, self._teacher, options)
            if options.hidden_states or options.attention:
                self._layers = layer_map(model, self._teacher, kept)
            if options.hidden_states:
                self.projection = _projection(model, self._teacher, device, seed)
        if self.looks_at_attention or options.copy_warmup_steps:
            model.set_attn_implementation("eager")
        if self._teacher is not None and options.attention:
            self._teacher.set_attn_implementation("eager")

    @property
    def looks_at_hidden_states(self) -> bool:
        """Whether hidden states are part of the loss."""
        return self._teacher is not None and self._options.hidden_states > 0

    @property
    def looks_at_attention(self) -> bool:
        """Whether attention weights are part of the loss, so that none may be dropped."""
        options = self._options
        return options.guided_alignment > 0 or (self._teacher is not None and options.attention > 0)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yields parameters that only the loss uses; they are not part of the model."""
        return iter(()) if self.projection is None else self.projection.parameters()

    def loss(self, batch: Batch) -> Loss:
        """Returns the loss of one batch, which is on the model's device."""
        options, teacher = self._options, self._teacher
        with autocast(self._device, options.precision):
            found = output_of(self._model, batch, self.looks_at_hidden_states, self.looks_at_attention)
            # Once, here: every loss of the logits computes in fp32.
            logits = found.logits.float()
            parts = {"labels": label_smoothed_cross_entropy(logits, batch.labels, options.label_smoothing)}
            weights = {"labels": 1.0}
            if options.guided_alignment:
                parts["guided"] = self._guided(found, batch)
                weights["guided"] = options.guided_alignment
            if teacher is not None:
                wanted = self._taught(teacher, batch)
                if options.alpha:
                    weights |= {"labels": 1 - options.alpha, "teacher": options.alpha}
                    parts["teacher"] = distillation_loss(logits, wanted.logits, batch.labels, options.temperature)
                if options.hidden_states:
                    weights["hidden"] = options.hidden_states
                    parts["hidden"] = self._hidden(found, wanted, batch)
                if options.attention:
                    weights["attention"] = options.attention
                    parts["attention"] = self._attention(found, wanted, batch)
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def copying_loss(self, batch: Batch) -> Loss:
        """Returns the loss of a copying batch: cross entropy with the labels, and guided alignment of one head."""
        with autocast(self._device, self._options.precision):
            found = output_of(self._model, batch, attentions=True)
            labels = label_smoothed_cross_entropy(found.logits, batch.labels)
            guided = self._guided(found, batch)
        is_target = batch.labels != IGNORED_LABEL
        right = (found.logits.argmax(-1) == batch.labels) & is_target
        accuracy = float(right.sum() / is_target.sum())
        parts = {"labels": labels.detach(), "guided": guided.detach()}
        return Loss(labels + COPYING_WEIGHT * guided, parts, accuracy)

    def _taught(self, teacher: "PreTrainedModel", batch: Batch) -> Any:
        options = self._options
        with torch.no_grad():
            return output_of(teacher, batch, options.hidden_states > 0, options.attention > 0)

    def _guided(self, found: Any, batch: Batch) -> torch.Tensor:
        alignment = copy_alignments(batch.input_ids, batch.labels)
        losses = [
            guided_alignment_loss(found.cross_attentions[layer][:, GUIDED_HEAD], alignment)
            for layer in self._guided_layers
        ]
        return torch.stack(losses).mean()

    def _hidden(self, found: Any, wanted: Any, batch: Batch) -> torch.Tensor:
        assert self._layers is not None
        masks = (batch.attention_mask.bool(), batch.labels != IGNORED_LABEL)
        losses = []
        for stack, mask in zip(("encoder", "decoder"), masks, strict=True):
            ours, theirs = getattr(found, f"{stack}_hidden_states"), getattr(wanted, f"{stack}_hidden_states")
            # The output of the last layer is normalized in a T5, so it is compared with the teacher's last.
            layers = (*getattr(self._layers, stack)[:-1], len(theirs) - 2)
            for layer, teacher_layer in enumerate(layers):
                state = ours[layer + 1] if self.projection is None else self.projection(ours[layer + 1])
                losses.append(hidden_state_loss(state, theirs[teacher_layer + 1], mask))
        return torch.stack(losses).mean()

    def _attention(self, found: Any, wanted: Any, batch: Batch) -> torch.Tensor:
        assert self._layers is not None
        is_source, is_target = batch.attention_mask.bool(), batch.labels != IGNORED_LABEL
        losses = [
            attention_loss(getattr(found, name)[layer], getattr(wanted, name)[teacher_layer], mask)
            for name, layers, mask in (
                ("encoder_attentions", self._layers.encoder, is_source),
                ("decoder_attentions", self._layers.decoder, is_target),
                ("cross_attentions", self._layers.decoder, is_target),
            )
            for layer, teacher_layer in enumerate(layers)
        ]
        return torch.stack(losses).mean()


def layer_map(
    student: "PreTrainedModel", teacher: "PreTrainedModel", kept: Mapping[str, Sequence[int]] | None = None
) -> LayerMap:
    """Returns the layers of the teacher to compare each layer of the student with.

    Args:
        student: of any family.
        teacher: of any family.
        kept: the teacher's layers that the student was made from, by stack; None takes evenly spaced layers with the
            last one, TinyBERT's uniform strategy (https://arxiv.org/abs/1909.10351, section 4.1).

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


def _guided_layers(options: TrainingOptions, count: int) -> tuple[int, ...]:
    layers = tuple(int(layer) for layer in options.guided_layers)
    for layer in layers:
        if layer >= count:
            raise BadParameters(f"layer {layer} cannot be guided: the decoder has layers 0 to {count - 1}")
    return layers or tuple(sorted({(count - 1) // 2, count // 2}))


def _check_teacher(model: "PreTrainedModel", teacher: "PreTrainedModel", options: TrainingOptions) -> None:
    theirs, ours = teacher.config.vocab_size, model.config.vocab_size
    # If its logits are not used, a teacher may have more tokens, if the student's tokens have the same ids.
    if (options.alpha and theirs != ours) or theirs < ours:
        raise BadParameters(f"the teacher has {theirs} tokens and the student {ours}")


def _projection(model: "PreTrainedModel", teacher: "PreTrainedModel", device: str, seed: int) -> torch.nn.Linear | None:
    ours, theirs = model.config.d_model, teacher.config.d_model
    if ours == theirs:
        return None
    projection = torch.nn.Linear(ours, theirs, bias=False)
    torch.nn.init.normal_(projection.weight, std=ours**-0.5, generator=torch.Generator().manual_seed(seed))
    return projection.to(device)
