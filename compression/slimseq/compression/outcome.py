"""What techniques end with: a published artifact and, where something was trained, the report of its training."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.context import Context, library_versions
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.parent import Parent
from slimseq.compression.publish import derived, publish_model
from slimseq.models_store.manifest import Manifest, Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from slimseq.compression.training.data import DataFiles, Material
    from slimseq.compression.training.trainer import TrainingOptions, TrainingReport

OPTIONAL_LOSSES = ("hidden_states", "attention", "guided_alignment", "guided_layers", "copy_warmup_steps")


@dataclass(frozen=True)
class Outcome:
    """A published artifact, and how its training went.

    Args:
        manifest: the artifact's.
        report: None where nothing was to be trained.
        parent_dev_loss: the loss of what it was made from on the same data, where dev files were given.
        chosen: what was decided on the way, a line each.
        remark: one line where the training was too short to mean anything, else empty.
    """

    manifest: Manifest
    report: "TrainingReport | None" = None
    parent_dev_loss: float | None = None
    chosen: Sequence[str] = ()
    remark: str = ""

    def summary(self) -> dict[str, Any]:
        """Returns identity, size and training as plain values, for machines."""
        summary = {
            **self.manifest.model_dump(mode="json", include={"task", "variant", "family", "digest", "size"}),
            "lineage": [step.technique for step in self.manifest.lineage],
            "chosen": list(self.chosen),
            "remark": self.remark,
        }
        if self.report is not None:
            summary["training"] = asdict(self.report) | {"parent_dev_loss": self.parent_dev_loss}
        return summary

    def lines(self) -> list[str]:
        """Returns the same for people."""
        size, report = self.manifest.size, self.report
        stored = sum(size.bytes_by_format.values())
        lines = [
            f"{self.manifest.task}/{self.manifest.variant}: {size.parameters:,} parameters, {stored / 1e6:.1f} MB, "
            f"{size.fp32_bytes / stored:.2f} times smaller than their fp32, {self.manifest.digest}"
        ]
        lines += self.chosen
        if report is None:
            return lines
        if report.steps:
            lines.append(
                f"{report.steps:,} steps, {report.seconds:,.0f} s, {report.tokens_per_second:,.0f} tokens/s, "
                f"loss {report.first_loss:.3f} to {report.last_loss:.3f}"
            )
        losses = (
            ("parent", self.parent_dev_loss),
            ("before", report.dev_loss_before),
            ("after", report.dev_loss_after),
        )
        measured = [f"{name} {loss:.3f}" for name, loss in losses if loss is not None]
        if measured:
            lines.append(f"dev loss: {', '.join(measured)}")
        return [*lines, *([self.remark] if self.remark else [])]


@dataclass(frozen=True)
class Derivation:
    """How a model is made from an artifact, for its lineage.

    Args:
        technique: the step's name.
        name: what to call the result.
        description: one sentence for its card.
        parameters: what was chosen beside the training's own settings.
        files: the training files, and how they were mixed.
        started: reading of `time.monotonic()` at the beginning.
        doing: what the progress bar says.
        chosen: what was decided, for whoever waits.
    """

    technique: str
    name: str
    description: str
    parameters: dict[str, Any]
    files: "DataFiles"
    started: float
    doing: str
    chosen: Sequence[str] = ()


def learn_from_parent(
    context: Context,
    parent: Parent,
    model: "PreTrainedModel",
    material: "Material",
    training: "TrainingOptions",
    derivation: Derivation,
    checkpoint_folder: Path | None = None,
    kept_layers: Mapping[str, Sequence[int]] | None = None,
) -> Outcome:
    """Trains a model on labels and on the parent that it was made from, and publishes it ready to serve.

    Args:
        context: store, seed and device.
        parent: the artifact, which teaches.
        model: made from the parent's; trained in place.
        material: training and dev sets.
        training: how to train.
        derivation: what was done, for the lineage.
        checkpoint_folder: where training is checkpointed and resumed from.
        kept_layers: the parent's layers that the model has, by stack; None where it has all or they are unknown.

    Raises:
        TrainingDiverged: training failed; nothing is published.
    """
    from slimseq.compression.training.forward import dev_loss
    from slimseq.compression.training.report import too_short
    from slimseq.compression.training.trainer import train

    parent_dev_loss = dev_loss(parent.model, material.dev, context, training.precision) if material.dev else None
    report = train(
        model,
        material.train,
        training,
        context,
        teacher=parent.model,
        checkpoint_folder=checkpoint_folder,
        dev=material.dev,
        describe=derivation.doing,
        kept_layers=kept_layers,
    )
    parameters = {
        **derivation.parameters,
        **training_parameters(report, training, derivation.files, has_teacher=True),
    }
    step = step_of(context, derivation.technique, parameters, parent.manifest.digest, derivation.started)
    identity = derived(parent.manifest, derivation.name, derivation.description, step)
    manifest = publish_model(context.store, model, parent.folder, identity)
    add_onnx(context, manifest.task, derivation.name)
    return Outcome(manifest, report, parent_dev_loss, derivation.chosen, too_short(report, training))


def step_of(context: Context, technique: str, parameters: dict[str, Any], parent: str | None, started: float) -> Step:
    """Returns the record of a step that started at `started`, a reading of `time.monotonic()`, and ends now."""
    return Step(
        technique=technique,
        parameters=parameters,
        parent=parent,
        seed=context.seed,
        versions=library_versions(),
        seconds=round(time.monotonic() - started, 3),
        device=context.device,
    )


def training_parameters(
    report: "TrainingReport", options: "TrainingOptions", files: "DataFiles", has_teacher: bool
) -> dict[str, Any]:
    """Returns what a step records of its training: the options that matter, what was done, files' names and mixture.

    Folders are left out: they say something of the machine and nothing of the data.
    """
    names = ["learning_rate", "tokens_per_batch", "accumulation", "label_smoothing", "dropout", "precision"]
    values = asdict(options)
    done = asdict(report)
    return {
        **{name: values[name] for name in (*names, *(("alpha", "temperature") if has_teacher else ()))},
        # Losses that most runs are without stand in the record of those that have them.
        **{name: values[name] for name in OPTIONAL_LOSSES if values[name]},
        **{name: done[name] for name in ("steps", "tokens", "first_loss", "last_loss", "dev_loss_after")},
        "data": [":".join(Path(part).name for part in file.split(":")) for file in files.train],
        **({"unlabelled": [Path(name).name for name in files.unlabelled]} if files.unlabelled else {}),
        **({"mixture": mixture} if (mixture := files.mixture.record()) else {}),
    }
