"""The options of `compress`: a bar, a time, and the data to learn and to choose on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.compress.time_plan import read_duration
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON, DATA, OUTPUT, flat
from slimseq.evaluation.agreement import SIMILARITY_METRIC
from slimseq.evaluation.choice import Aim
from slimseq.evaluation.metrics import METRICS
from slimseq.models_store.manifest import NAME_PATTERN, Task


@flat(COMMON)
@dataclass(frozen=True)
class CompressOptions:
    """What to keep, and what to try."""

    train: Annotated[Sequence[str], Parameter(name="--data")] = ()
    """Pairs to learn from and to choose on, at least 200: a .jsonl or .tsv file (also .gz), or two parallel texts as
    SOURCE:TARGET. Repeatable."""
    keep: float = 0.98
    """The bar: share of the original's score that the chosen variant must keep."""
    within: str = "60m"
    """Time for everything, such as 3m, 60m or 2h. The command ends within 1.1 times of it, with the best it found."""
    aim: Aim = "fastest"
    """What to choose among the variants that keep the bar: the fastest or the smallest."""
    metric: str | None = None
    """Metric of the score. By default chrf for translation and rougeL for summarization."""
    name: str = ""
    """Beginning of the new variants' names. By default the original's name, if that is not `original`. A model that is
    imported gets this name, or `original`."""
    dev: Annotated[Sequence[str], Parameter(group=DATA)] = ()
    """Pairs to choose on, at least 60, that are not in --data. By default a fifth of --data is held out. Repeatable."""
    test: Annotated[Sequence[str], Parameter(group=DATA)] = ()
    """Pairs that decide nothing. The published variants are measured on them once, at the end. Repeatable."""
    unlabelled: Annotated[Sequence[str], Parameter(group=DATA)] = ()
    """Texts without targets, in place of --data: a .jsonl file (also .gz), or a text file with one text a line. For
    translation, texts are split into sentences. The original's own outputs are the targets, and agreement is reported
    in place of quality. Repeatable."""
    teacher_outputs: Annotated[Path | None, Parameter(group=DATA)] = None
    """The original's outputs for --unlabelled, made before by `generate --as-is`, perhaps on other machines. All texts
    that the file has an output for are used."""
    scorer: Annotated[str | None, Parameter(group=DATA)] = None
    """Command that scores outputs in place of --metric. It reads JSON lines with source, output and reference, and
    writes one number a line; higher is better."""
    folder: Annotated[Path | None, Parameter(group=OUTPUT)] = None
    """Folder for what the run finds, its pictures and its recipe. By default .slimseq/compress-TASK-NAME."""

    @property
    def seconds(self) -> float:
        return read_duration(self.within)

    def metric_for(self, task: Task) -> str:
        """Returns the metric of a task, or raises BadParameters if the task has none of the name."""
        if self.metric is None:
            return SIMILARITY_METRIC[task]
        if self.metric not in METRICS[task]:
            raise BadParameters(f"--metric {self.metric}: {task} has {', '.join(METRICS[task])}")
        return self.metric

    def check(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadParameters(f"--keep {self.keep:g} is no share above 0 and up to 1, such as 0.98")
        if self.scorer is not None and self.metric is not None:
            raise BadParameters("--scorer takes the place of --metric: give one of them")
        if bool(self.train) == bool(self.unlabelled):
            raise BadParameters(
                "give pairs with --data, or texts without targets with --unlabelled"
                if not self.train
                else "--unlabelled takes the place of --data: give one of them"
            )
        if self.teacher_outputs is not None and not self.unlabelled:
            raise BadParameters("--teacher-outputs has the targets of --unlabelled: give texts with --unlabelled too")
        if self.name and not re.fullmatch(NAME_PATTERN, self.name):
            raise BadParameters(
                f"--name {self.name!r} is no beginning of names: use lower-case letters, digits, dots, dashes and "
                "underscores"
            )
        read_duration(self.within)
