"""The result of a technique: a published artifact and, after a training, its report."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.context import Context, library_versions
from slimseq.compression.held_out import files_record
from slimseq.models_store.manifest import Manifest, Step

if TYPE_CHECKING:
    from slimseq.compression.train.data.training_data import DataFiles
    from slimseq.compression.train.training_options import TrainingOptions
    from slimseq.compression.train.training_report import TrainingReport


@dataclass(frozen=True)
class Outcome:
    """A published artifact and its training.

    `parent_dev_loss` is the parent's loss on the same dev data, `chosen` what the technique chose, one line each, and
    `remark` a warning if the training was too short.
    """

    manifest: Manifest
    report: "TrainingReport | None" = None
    parent_dev_loss: float | None = None
    chosen: Sequence[str] = ()
    remark: str = ""

    def summary(self) -> dict[str, Any]:
        """Returns what a command prints as JSON."""
        summary = {
            **self.manifest.model_dump(mode="json", include={"task", "variant", "family", "digest", "size"}),
            "lineage": [step.technique for step in self.manifest.lineage],
            "chosen": list(self.chosen),
            "remark": self.remark,
        }
        if self.report is not None:
            found = {"parent_dev_loss": self.parent_dev_loss, "got_worse": self.report.got_worse}
            summary["training"] = asdict(self.report) | found
        return summary

    def lines(self) -> list[str]:
        """Returns what a command prints for people."""
        size, report = self.manifest.size, self.report
        name, stored = f"{self.manifest.task}/{self.manifest.variant}", sum(size.bytes_by_format.values())
        lines = [f"{name}: {size.parameters:,} parameters, {stored / 1e6:.1f} MB, {self.manifest.digest}"]
        lines += self.chosen
        if report is not None:
            lines += report.lines(self.parent_dev_loss)
        if self.remark:
            lines.append(self.remark)
        return lines


def step_of(context: Context, technique: str, parameters: dict[str, Any], parent: str | None, started: float) -> Step:
    """Returns the record of a step that ends now. `started` is `time.monotonic()` at its start."""
    return Step(
        technique=technique,
        parameters=parameters,
        parent=parent,
        seed=context.seed,
        versions=library_versions(),
        seconds=round(time.monotonic() - started, 3),
        device=context.device,
        key=context.key,
    )


def training_parameters(
    report: "TrainingReport", options: "TrainingOptions", files: "DataFiles", has_teacher: bool
) -> dict[str, Any]:
    """Returns the parameters of a training step: options, results, names of the data files, and mixture.

    Folders are left out, since they depend on the machine.
    """
    names = ["learning_rate", "tokens_per_batch", "accumulation", "label_smoothing", "dropout"]
    if has_teacher:
        names += ["alpha", "temperature"]
    results = ["precision", "steps", "tokens", "first_loss", "last_loss", "dev_loss_before", "dev_loss_after"]
    values, done = asdict(options), asdict(report)
    parameters: dict[str, Any] = {name: values[name] for name in names} | {name: done[name] for name in results}
    if report.kept_step is not None:
        parameters["kept_step"] = report.kept_step
    parameters["data"] = [":".join(Path(part).name for part in file.split(":")) for file in files.train]
    if files.unlabelled:
        parameters["unlabelled"] = [Path(name).name for name in files.unlabelled]
    parameters |= files_record(train=[*files.train, *files.unlabelled], dev=files.dev)
    mixture = files.mixture.record()
    if mixture:
        parameters["mixture"] = mixture
    return parameters
