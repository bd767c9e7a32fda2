"""`import`: brings a hub model or a folder into the store."""

from typing import Annotated

import typer

from slimseq.compression.commands.next_step import evaluate_next
from slimseq.compression.commands.options import (
    ForceOption,
    JsonOption,
    StoreOption,
    open_context,
    print_json,
    print_line,
)
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.models_store.manifest import Task


def import_command(
    source: Annotated[str, typer.Argument(help="A folder, or a hub id such as google-t5/t5-small.")],
    task: Annotated[Task, typer.Option("--task", help="What the model is to do.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="The variant's name.")] = "original",
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Language code; twice for translation: source, target.")
    ] = None,
    license_name: Annotated[str, typer.Option("--license", help="Licence of the weights.")] = "unknown",
    training_data: Annotated[str, typer.Option(help="What the weights were trained on.")] = "not stated",
    description: Annotated[str, typer.Option(help="One sentence for the model card.")] = "",
    prefix: Annotated[str | None, typer.Option(help="Text put before every input.")] = None,
    num_beams: Annotated[int | None, typer.Option(help="Default beams.")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="Default length penalty.")] = None,
    no_repeat_ngram_size: Annotated[int | None, typer.Option(help="Default n-gram size not to repeat.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Default length limit of outputs.")] = None,
    max_input_tokens: Annotated[int | None, typer.Option(help="Length at which inputs are truncated.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    export: Annotated[bool, typer.Option("--export/--no-export", help="Add ONNX, to serve without PyTorch.")] = True,
    force: ForceOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a T5 or BART from a folder or a hub as an artifact (bf16 safetensors, manifest, model card)."""
    context = open_context(store, force=force)
    options = ImportOptions(
        task=task,
        variant=name,
        languages=language,
        license=license_name,
        training_data=training_data,
        description=description,
        prefix=prefix,
        num_beams=num_beams,
        length_penalty=length_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        max_new_tokens=max_new_tokens,
        max_input_tokens=max_input_tokens,
        revision=revision,
        export=export,
    )
    with context.store.claim(task, name):
        manifest = import_model(context, source, options)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        stored = sum(manifest.size.bytes_by_format.values())
        print_line(f"{task}/{name}: {manifest.size.parameters:,} parameters, {stored / 1e6:.1f} MB, {manifest.digest}")
        generation = manifest.generation
        tokens = [generation.source_language_token, generation.target_language_token]
        marks = f" (tokens {' and '.join(filter(None, tokens))})" if any(tokens) else ""
        print_line(f"Languages: {' to '.join(manifest.languages)}{marks}. Prefix of inputs: {generation.prefix!r}.")
        print_line(evaluate_next(context, manifest))
