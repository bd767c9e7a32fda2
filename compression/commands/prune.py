"""`prune`: removes feed-forward channels and attention heads, and trains the model to recover."""

from typing import Annotated

import typer

from compression.commands.options import (
    DEFAULT_STORE,
    DeviceOption,
    ForceOption,
    JsonOption,
    SeedOption,
    StoreOption,
    TaskArgument,
    VariantArgument,
    open_context,
)
from compression.commands.training_options import (
    AlphaOption,
    CalibrationOption,
    CheckpointOption,
    DataOption,
    DevOption,
    DropoutOption,
    LabelSmoothingOption,
    LearningRateOption,
    MaxSecondsOption,
    MaxStepsOption,
    PrecisionName,
    PrecisionOption,
    TemperatureOption,
    TokensPerBatchOption,
    WarmupOption,
    answer,
    data_files,
    default_seconds,
)


def prune_command(
    task: TaskArgument,
    variant: VariantArgument,
    data: DataOption,
    name: Annotated[str, typer.Option("--name", help="What to call the result.")] = "pruned",
    feed_forward: Annotated[
        float, typer.Option(help="Feed-forward channels to keep: a share up to 1, or a number above.")
    ] = 0.5,
    heads: Annotated[
        int | None, typer.Option(help="Heads to keep in every attention; all where not given. Narrows a BART too.")
    ] = None,
    calibration: CalibrationOption = None,
    samples: Annotated[int, typer.Option(help="Pairs that importance is measured on.", min=1)] = 256,
    dev: DevOption = None,
    max_seconds: MaxSecondsOption = None,
    max_steps: MaxStepsOption = None,
    learning_rate: LearningRateOption = 3e-4,
    warmup_steps: WarmupOption = 50,
    tokens_per_batch: TokensPerBatchOption = 2048,
    label_smoothing: LabelSmoothingOption = 0.0,
    alpha: AlphaOption = 0.5,
    temperature: TemperatureOption = 1.0,
    dropout: DropoutOption = 0.0,
    precision: PrecisionOption = PrecisionName.BF16,
    checkpoint: CheckpointOption = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Prune a variant: structures are really removed, then it recovers on labels and on the unpruned model.

    Without --max-seconds or --max-steps recovery takes ten minutes; --max-steps 0 skips it.
    """
    from compression.prune import PruneOptions, prune
    from compression.training.options import TrainingOptions
    from compression.training.schedule import Bounds

    outcome = prune(
        open_context(store, seed, device, force),
        task,
        variant,
        name,
        data_files(data, calibration, dev),
        PruneOptions(feed_forward=feed_forward, heads=heads, samples=samples),
        TrainingOptions(
            bounds=Bounds(max_steps=max_steps, max_seconds=default_seconds(max_seconds, max_steps)),
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            tokens_per_batch=tokens_per_batch,
            label_smoothing=label_smoothing,
            alpha=alpha,
            temperature=temperature,
            dropout=dropout,
            precision=precision.value,
        ),
        checkpoint,
    )
    answer(outcome, as_json)
