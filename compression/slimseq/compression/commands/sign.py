"""`sign`: a signature beside an artifact."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.commands.options import (
    StoreOption,
    TaskArgument,
    open_context,
    print_line,
    require,
)
from slimseq.compression.option_groups import COMMON


def sign_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to sign.")],
    /,
    *,
    key: Annotated[Path, Parameter(group=COMMON, help="Private elliptic-curve key (PEM).")],
    password: Annotated[
        str | None, Parameter(group=COMMON, env_var="SLIMSEQ_KEY_PASSWORD", help="Password of the key.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Sign an artifact's files, so that `verify --signature` can tell who made them.

    A pair of keys: `openssl ecparam -name prime256v1 -genkey -noout -out private.pem`, then
    `openssl ec -in private.pem -pubout -out public.pem`.
    """
    from slimseq.models_store.signing import sign

    require("model_signing")
    path = sign(open_context(store).store, task, variant, key, password)
    print_line(f"{task}/{variant}: signed, {path.name}")
