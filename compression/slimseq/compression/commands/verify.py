"""`verify`: checks artifacts against their recorded hashes."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.commands.options import (
    JsonOption,
    StoreOption,
    TaskFilter,
    print_json,
    print_line,
    reading_context,
)
from slimseq.compression.option_groups import COMMON
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.signing import check_signature


def verify_command(
    task: TaskFilter = None,
    variant: Annotated[str | None, Parameter(help="Only this variant.")] = None,
    /,
    *,
    signature: Annotated[
        Path | None,
        Parameter(group=COMMON, help="Public key (PEM): also check that its owner signed the files."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the artifacts' files against their recorded hashes, and their signatures; exit 1 if one differs."""
    context = reading_context(store)
    if task is not None and variant is not None:
        chosen = [(task, context.store.manifest(task, variant).variant)]
    else:
        chosen = [(entry.task, entry.variant) for entry in context.store.scan() if task in (None, entry.task)]
    errors: dict[str, str | None] = {}
    for one_task, one_variant in chosen:
        try:
            with context.working(f"Checking {one_task}/{one_variant}"):
                context.store.verify(one_task, one_variant)
            if signature is not None:
                check_signature(context.store, one_task, one_variant, signature)
            errors[f"{one_task}/{one_variant}"] = None
        except SlimseqError as error:
            errors[f"{one_task}/{one_variant}"] = str(error)
    if as_json:
        print_json({name: {"ok": error is None, "error": error} for name, error in errors.items()})
    else:
        for name, reason in errors.items():
            print_line(f"{name}: ok" if reason is None else f"FAILED {reason}")
    if any(errors.values()):
        sys.exit(1)
