"""`sign`: a signature beside an artifact."""

from pathlib import Path
from typing import Annotated

import typer

from slimseq.compression.commands.options import (
    StoreOption,
    TaskArgument,
    VariantArgument,
    open_context,
    print_line,
)


def sign_command(
    task: TaskArgument,
    variant: VariantArgument,
    key: Annotated[Path, typer.Option("--key", help="Private elliptic-curve key, PEM.", dir_okay=False)],
    password: Annotated[
        str | None, typer.Option(help="Of the key.", envvar="SLIMSEQ_KEY_PASSWORD", show_envvar=True)
    ] = None,
    store: StoreOption = None,
) -> None:
    """Sign an artifact's files, so that `verify --signature` can tell who made them.

    A pair of keys: `openssl ecparam -name prime256v1 -genkey -noout -out private.pem`, then
    `openssl ec -in private.pem -pubout -out public.pem`.
    """
    from slimseq.models_store.signing import sign

    path = sign(open_context(store).store, task, variant, key, password)
    print_line(f"{task}/{variant}: signed, {path.name}")
