"""`train`: a base model from text files, from nothing or further from a variant or a model folder."""

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
    open_context,
)
from compression.commands.training_options import (
    CheckpointOption,
    DataOption,
    DevOption,
    EpochsOption,
    LabelSmoothingOption,
    LearningRateOption,
    MaxSecondsOption,
    MaxStepsOption,
    PrecisionName,
    PrecisionOption,
    TokensPerBatchOption,
    WarmupOption,
    answer,
    data_files,
    default_seconds,
)
from models_store.manifest import Family


def train_command(
    task: TaskArgument,
    data: DataOption,
    start: Annotated[
        str | None,
        typer.Option("--from", help="A variant or a model folder to train further; a new model where not given."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What to call the result.")] = "original",
    family: Annotated[Family, typer.Option(help="What a new model is.")] = Family.BART,
    width: Annotated[int, typer.Option(help="Of a new model's residual stream.", min=1)] = 256,
    encoder_layers: Annotated[int, typer.Option(help="Of a new model.", min=1)] = 4,
    decoder_layers: Annotated[int, typer.Option(help="Of a new model.", min=1)] = 4,
    heads: Annotated[int, typer.Option(help="Of a new model's attentions.", min=1)] = 4,
    feed_forward: Annotated[int, typer.Option(help="Width of a new model's feed-forward.", min=1)] = 1024,
    positions: Annotated[int, typer.Option(help="Longest input or output of a new BART.", min=8)] = 512,
    gated: Annotated[bool, typer.Option("--gated", help="Gated GELU in a new T5, instead of ReLU.")] = False,
    tied: Annotated[bool, typer.Option(help="Whether a new T5's output layer is its token matrix.")] = True,
    vocabulary: Annotated[int, typer.Option(help="Pieces of a new tokenizer at most.", min=16)] = 8000,
    prefix: Annotated[str, typer.Option(help="Text put before every input, such as `summarize: `.")] = "",
    num_beams: Annotated[int, typer.Option(help="Default beams.", min=1)] = 4,
    no_repeat_ngram_size: Annotated[int, typer.Option(help="Default n-gram size not to repeat.", min=0)] = 0,
    max_input_tokens: Annotated[int, typer.Option(help="Length at which inputs are cut.", min=8)] = 512,
    max_new_tokens: Annotated[int, typer.Option(help="Length at which targets are cut and outputs end.", min=1)] = 128,
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Language code; twice for translation: source, target.")
    ] = None,
    license_name: Annotated[str, typer.Option("--license", help="Licence of the weights.")] = "unknown",
    training_data: Annotated[str, typer.Option(help="What the card says of the data; its files' names if empty.")] = "",
    description: Annotated[str, typer.Option(help="One sentence for the model card.")] = "",
    dev: DevOption = None,
    max_seconds: MaxSecondsOption = None,
    max_steps: MaxStepsOption = None,
    epochs: EpochsOption = None,
    learning_rate: LearningRateOption = 9e-4,
    warmup_steps: WarmupOption = 600,
    tokens_per_batch: TokensPerBatchOption = 1800,
    label_smoothing: LabelSmoothingOption = 0.1,
    dropout: Annotated[
        float | None, typer.Option(help="Of hidden states; a new model's is 0.1, another's its own.", min=0, max=0.99)
    ] = None,
    precision: PrecisionOption = PrecisionName.BF16,
    checkpoint: CheckpointOption = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Train a base model from text files, or train a variant or a model folder further.

    Without --max-seconds, --max-steps or --epochs training takes ten minutes. With --checkpoint it can be interrupted
    (Ctrl-C) and gone on with by the same command.
    """
    from compression.train import BaseOptions, train_base
    from compression.training.options import TrainingOptions
    from compression.training.schedule import Bounds
    from compression.training.scratch import Architecture

    architecture = Architecture(
        family=family,
        width=width,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        heads=heads,
        feed_forward=feed_forward,
        positions=positions,
        is_gated=gated,
        is_tied=tied,
    )
    options = BaseOptions(
        name=name,
        languages=language,
        license=license_name,
        training_data=training_data,
        description=description,
        prefix=prefix,
        num_beams=num_beams,
        no_repeat_ngram_size=no_repeat_ngram_size,
        max_new_tokens=max_new_tokens,
        max_input_tokens=max_input_tokens,
        vocabulary=vocabulary,
    )
    training = TrainingOptions(
        bounds=Bounds(max_steps=max_steps, max_seconds=default_seconds(max_seconds, max_steps, epochs), epochs=epochs),
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        tokens_per_batch=tokens_per_batch,
        label_smoothing=label_smoothing,
        dropout=dropout,
        precision=precision.value,
    )
    outcome = train_base(
        open_context(store, seed, device, force),
        task,
        options,
        data_files(data, dev=dev),
        training,
        start if start is not None else architecture,
        checkpoint,
    )
    answer(outcome, as_json)
