"""`distill`: trains a student with fewer layers on labels and on its teacher's distribution."""

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


def distill_command(
    task: TaskArgument,
    variant: VariantArgument,
    data: DataOption,
    name: Annotated[str, typer.Option("--name", help="What to call the student.")] = "distilled",
    encoder_layers: Annotated[
        int | None, typer.Option(help="The student's encoder layers; all of the teacher's where not given.")
    ] = None,
    decoder_layers: Annotated[
        int | None, typer.Option(help="The student's decoder layers; half of the teacher's where not given.")
    ] = None,
    dev: DevOption = None,
    max_seconds: MaxSecondsOption = None,
    max_steps: MaxStepsOption = None,
    learning_rate: LearningRateOption = 5e-4,
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
    """Distill a variant into a student made of some of its layers, evenly spaced.

    Without --max-seconds or --max-steps training takes ten minutes; --max-steps 0 skips it.
    """
    from compression.distill import DistillOptions, distill
    from compression.training.options import TrainingOptions
    from compression.training.schedule import Bounds

    outcome = distill(
        open_context(store, seed, device, force),
        task,
        variant,
        name,
        data_files(data, dev=dev),
        DistillOptions(encoder_layers=encoder_layers, decoder_layers=decoder_layers),
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
