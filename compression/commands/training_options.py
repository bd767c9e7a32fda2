"""Options that every command with training in it has."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compression.commands.options import print_json, print_line

if TYPE_CHECKING:
    from compression.outcome import Outcome
    from compression.training.data import DataFiles


class PrecisionName(StrEnum):
    """What the forward and backward passes compute in; weights are fp32."""

    BF16 = "bf16"
    FP32 = "fp32"


DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="Training data, repeatable: a .jsonl or .tsv file (also .gz), or two parallel texts as SOURCE:TARGET.",
        show_default=False,
    ),
]
CalibrationOption = Annotated[
    list[str] | None,
    typer.Option("--calibration", help="What importance is measured on; the first rows of --data where not given."),
]
DevOption = Annotated[
    list[str] | None, typer.Option("--dev", help="Held-out data, repeatable: its loss is printed before and after.")
]
MaxSecondsOption = Annotated[
    float | None, typer.Option("--max-seconds", help="End training after so long, decayed.", min=0)
]
MaxStepsOption = Annotated[int | None, typer.Option("--max-steps", help="End training after so many steps.", min=0)]
EpochsOption = Annotated[
    float | None, typer.Option("--epochs", help="End training after so many passes over the data.", min=0)
]
LearningRateOption = Annotated[float, typer.Option("--learning-rate", help="Peak of the learning rate.")]
WarmupOption = Annotated[
    int, typer.Option("--warmup-steps", help="Steps until the peak, at most a tenth of the run.", min=0)
]
TokensPerBatchOption = Annotated[
    int, typer.Option("--tokens-per-batch", help="Rows times the longest side of a batch.", min=1)
]
LabelSmoothingOption = Annotated[float, typer.Option("--label-smoothing", help="0 is none.", min=0, max=0.99)]
AlphaOption = Annotated[float, typer.Option("--alpha", help="Weight of what the teacher says.", min=0, max=1)]
TemperatureOption = Annotated[float, typer.Option("--temperature", help="Softens teacher and student alike.")]
DropoutOption = Annotated[float, typer.Option("--dropout", help="Of hidden states.", min=0, max=0.99)]
PrecisionOption = Annotated[PrecisionName, typer.Option("--precision", help="bf16 autocast, or fp32.")]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Folder to write checkpoints to and resume from.", file_okay=False),
]

# Enough for a small model to recover, and short enough to wait for.
DEFAULT_SECONDS = 600.0


def default_seconds(max_seconds: float | None, max_steps: int | None, epochs: float | None = None) -> float | None:
    """Returns the bound in seconds: the default where nothing else ends the run."""
    unbounded = max_seconds is None and max_steps is None and epochs is None
    return DEFAULT_SECONDS if unbounded else max_seconds


def data_files(
    train: Sequence[str], calibration: Sequence[str] | None = None, dev: Sequence[str] | None = None
) -> "DataFiles":
    """Returns the files of a run."""
    from compression.training.data import DataFiles

    return DataFiles(train, calibration or (), dev or ())


def answer(outcome: "Outcome", as_json: bool) -> None:
    """Prints what a command with training in it ends with."""
    if as_json:
        print_json(outcome.summary())
        return
    for line in outcome.lines():
        print_line(line)
