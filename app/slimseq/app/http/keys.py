"""The keys of clients, and the file that holds them.

A key is `slq_<id>_<secret>` with 256 random bits in the secret. The file holds its SHA-256, so that who reads the file
cannot use the service. `slimseq keys` writes the file, the service reads it.
"""

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from slimseq.app.errors import UnusableKeysFile
from slimseq.models_store.files import write_text, writing_to
from slimseq.models_store.json_record import first_error
from slimseq.models_store.locks import locked

KEY = re.compile(r"slq_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
MAX_BYTES = 4 * 1024 * 1024  # Of a keys file: some ten thousand keys.


class Scope(StrEnum):
    """What a key may be used for. `admin` includes all others."""

    GENERATE = "generate"
    EVALUATE = "evaluate"
    METRICS = "metrics"
    ADMIN = "admin"


class KeyLimits(BaseModel):
    """What a key may use. None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: int | None = Field(default=None, ge=1, le=10**9, description="Requests a minute.")
    characters_per_minute: int | None = Field(default=None, ge=1, le=10**12, description="Characters a minute.")
    concurrent_requests: int | None = Field(default=None, ge=1, le=10**6, description="Requests at once.")
    evaluations_per_day: int | None = Field(default=None, ge=1, le=10**6, description="Evaluations a day.")


class Key(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    name: str = Field(min_length=1, max_length=64)
    hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", repr=False)
    scopes: tuple[Scope, ...] = Field(min_length=1)
    limits: KeyLimits = KeyLimits()
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at

    def is_of(self, token: str) -> bool:
        return hmac.compare_digest(self.hash, hash_token(token))


class KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()


def hash_token(token: str) -> str:
    """Returns the hash of a token. A slow hash would protect secrets that can be guessed. 256 random bits are not."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def key_id(token: str) -> str | None:
    """Returns the id of the key that a token claims to be, None if it has not the form of a key."""
    found = KEY.fullmatch(token)
    return found[1] if found else None


def is_private(status: os.stat_result) -> bool:
    """Returns whether nobody but its owner can read or change a file.

    A file of root may be readable by its group, as PostgreSQL allows for private keys: Kubernetes mounts a Secret so
    for a process that is not root.
    """
    others = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == 0:
        others &= ~stat.S_IRGRP
    return not status.st_mode & others


def read_keys(path: Path) -> tuple[Key, ...]:
    try:
        # `O_NONBLOCK`: opening a named pipe would otherwise wait until somebody writes to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnusableKeysFile(path, "is not a regular file")
            if not is_private(status):
                raise UnusableKeysFile(path, f"can be read or changed by others; run `chmod 600 {path}`")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "; `slimseq keys add` makes it" if isinstance(error, FileNotFoundError) else ""
        raise UnusableKeysFile(path, f"cannot be read: {error.strerror}{hint}") from error
    if len(content) > MAX_BYTES:
        raise UnusableKeysFile(path, f"is larger than {MAX_BYTES} bytes")
    try:
        keys = KeysFile.model_validate(json.loads(content)).keys
    except ValidationError as error:
        raise UnusableKeysFile(path, f"is malformed: {first_error(error, 'keys')}") from error
    except (ValueError, RecursionError) as error:
        raise UnusableKeysFile(path, f"is not JSON: {error}") from error
    if len({key.id for key in keys}) < len(keys):
        raise UnusableKeysFile(path, "has two keys of the same id")
    return keys


def add_key(
    path: Path, name: str, scopes: tuple[Scope, ...], limits: KeyLimits, expires_at: datetime | None
) -> tuple[Key, str]:
    """Adds a key to a keys file, which is made if it is missing. Returns the key, and its token: no file holds it."""
    identifier = secrets.token_hex(4)
    token = f"slq_{identifier}_{secrets.token_urlsafe(32)}"
    key = Key(
        id=identifier,
        name=name,
        hash=hash_token(token),
        scopes=scopes,
        limits=limits,
        created_at=datetime.now(UTC).replace(microsecond=0),
        expires_at=expires_at,
    )
    with _changing(path) as keys:
        if any(each.name == name for each in keys):
            raise UnusableKeysFile(path, f"has a key named {name!r}; revoke it first, or choose another name")
        keys.append(key)
    return key, token


def revoke_key(path: Path, name: str) -> Key:
    """Removes the key of a name or an id from a keys file, and returns it."""
    if not path.exists():
        # Raises the error of a missing file. `_changing` would create the file instead.
        read_keys(path)
    with _changing(path) as keys:
        matching = [key for key in keys if name in (key.id, key.name)]
        if not matching:
            raise UnusableKeysFile(path, f"has no key {name!r}; it has {', '.join(key.name for key in keys) or 'none'}")
        if len(matching) > 1:
            # Such as a key whose name is the id of another one. Only the user knows which one is meant.
            found = ", ".join(f"{key.name} ({key.id})" for key in matching)
            raise UnusableKeysFile(path, f"has several keys {name!r}: {found}; give the other name or id of the key")
        keys.remove(matching[0])
    return matching[0]


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """Yields the keys of a file as a list, and writes the list at the end of the block, unless it raises an error."""
    with writing_to(path):
        path = path.resolve()
        folder = os.open(path.parent, os.O_RDONLY)
        # The lock of the folder, so that of two commands at once neither loses the key of the other.
        with locked(folder):
            before = path.stat() if path.exists() else None
            keys = list(read_keys(path)) if before else []
            yield keys
            content = KeysFile(keys=tuple(keys)).model_dump_json(indent=2, exclude_none=True) + "\n"
            write_text(path, content, 0o600, before)
