"""`keys`: adds, lists and revokes the keys of clients. `slimseq.app.http.keys` has the file."""

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Table

from slimseq.app.errors import UnusableKeysFile
from slimseq.app.http.keys import Key, KeyLimits, Scope, add_key, read_keys, revoke_key
from slimseq.cli.arguments import FLAG, Shared
from slimseq.compression.errors import BadParameters

VARIABLE = "SLIMSEQ_KEYS_FILE"
PERIOD = re.compile(r"(\d{1,4})d")

app = App(
    name="keys",
    group_commands="Commands",
    help="""Add, list and revoke the keys of clients.

    `serve --keys-file FILE` answers only requests with a key of the file, in the header `Authorization: Bearer KEY`. It
    reads the file again when it changes.
    """,
)

FileOption = Annotated[
    Path | None, Parameter(name="--file", help=f"Keys file; {VARIABLE} sets it too. `add` makes it if it is missing.")
]
JsonOption = Annotated[bool, FLAG, Parameter(name=["--json", "-j"], help="Print JSON instead of text.")]


@app.command
def add(
    name: str,
    /,
    *,
    scopes: Annotated[tuple[Scope, ...], Parameter(name="--scope", negative="", show_default=", ".join)] = (
        Scope.GENERATE,
    ),
    expires: str | None = None,
    limits: Annotated[KeyLimits, Parameter(name="*")] = KeyLimits(),
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it. It is printed once: the file holds a hash of it.

    Args:
        name: For whom it is, such as the name of a program.
        scopes: What it may be used for: generate, evaluate, metrics, or admin for everything. Repeatable.
        expires: Last day, as 2027-01-31, or a number of days, as 90d. By default never.
    """
    path = _path(file)
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise BadParameters("a key's name has 1 to 64 printable characters")
    key, token = add_key(path, name, tuple(dict.fromkeys(scopes)), limits, _end(expires))
    Shared(as_json=as_json).show({**_shown(key), "key": token}, token)
    if not as_json:
        said = f"key {key.id} for {name} added to {path}: {', '.join(key.scopes)}. Keep it: it is not shown again"
        sys.stderr.write(f"{said}\n")


@app.command(name="list")
def list_keys(*, file: FileOption = None, as_json: JsonOption = False) -> None:
    """List the keys of a file, without their secrets."""
    keys = read_keys(_path(file))
    table = Table("id", "name", "scopes", "limits", "expires", box=None)
    for key in keys:
        limits = key.limits.model_dump(exclude_none=True)
        shown = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in limits.items())
        end = "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}Z"
        expired = " (expired)" if key.has_expired else ""
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), shown or "none", end + expired)
    Shared(as_json=as_json).show([_shown(key) for key in keys], table if keys else "no keys")


@app.command
def revoke(name: str, /, *, file: FileOption = None) -> None:
    """Remove a key. Services that use the file refuse it within seconds.

    Args:
        name: The key's name or id.
    """
    path = _path(file)
    key = revoke_key(path, name)
    sys.stderr.write(f"key {key.id} of {key.name} removed from {path}\n")


def _path(file: Path | None) -> Path:
    if file is None and not os.environ.get(VARIABLE):
        raise BadParameters(f"name the keys file: --file, or {VARIABLE}")
    path = file or Path(os.environ[VARIABLE])
    if not path.parent.is_dir():
        raise UnusableKeysFile(path, f"has no folder: there is no {path.parent}")
    return path


def _end(text: str | None) -> datetime | None:
    """Returns the time at which a key expires, given a day or a period. None if the key never expires."""
    if text is None:
        return None
    now = datetime.now(UTC).replace(microsecond=0)
    period = PERIOD.fullmatch(text)
    try:
        if period:
            end = now + timedelta(days=int(period[1]))
        else:
            # The named day is the last one.
            end = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadParameters(f"--expires {text} is no day such as 2027-01-31, and no period such as 90d") from None
    if end <= now:
        raise BadParameters(f"--expires {text} is over already")
    return end


def _shown(key: Key) -> dict[str, object]:
    return key.model_dump(mode="json", exclude={"hash"}, exclude_none=True)
