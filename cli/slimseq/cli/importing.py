"""`import`: a model comes from a hub or a folder into a store."""

from typing import Annotated

from cyclopts import Parameter

from slimseq.cli.arguments import (
    ForceOption,
    JsonOption,
    StoreOption,
    open_context,
    print_json,
    print_line,
    require,
)
from slimseq.cli.next_step import evaluate_next
from slimseq.compression.importing.importing import ImportOptions, import_model


def import_command(
    source: Annotated[str, Parameter(help="A folder, or a hub id such as google-t5/t5-small.")],
    /,
    *,
    options: ImportOptions,
    force: ForceOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a model from a folder or a hub as an artifact (bf16 safetensors, manifest, model card).

    Families: T5 (1.0, 1.1, mT5), BART, mBART, Marian and PEGASUS.
    """
    require("torch")
    context = open_context(store, force=force)
    with context.store.claim(options.task, options.variant):
        manifest = import_model(context, source, options)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        stored = sum(manifest.size.bytes_by_format.values())
        name = f"{manifest.task}/{manifest.variant}"
        print_line(f"{name}: {manifest.size.parameters:,} parameters, {stored / 1e6:.1f} MB, {manifest.digest}")
        generation = manifest.generation
        tokens = [generation.source_language_token, generation.target_language_token]
        marks = f" (tokens {' and '.join(filter(None, tokens))})" if any(tokens) else ""
        print_line(f"Languages: {' to '.join(manifest.languages)}{marks}. Prefix of inputs: {generation.prefix!r}.")
        print_line(evaluate_next(context, manifest))
