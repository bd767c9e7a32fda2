"""The base of what a store writes as JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimseq.models_store.errors import printable

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Record(BaseModel):
    """Base of every part of a manifest: immutable, without unknown keys."""

    # JSON has neither infinity nor NaN: what is written must be readable.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_error(error: ValidationError, whole: str) -> str:
    """Returns the first validation error on one line: its escaped field, or else `whole`, and the message."""
    first = error.errors()[0]
    is_unknown = first["type"] == "extra_forbidden"
    message = "is not a known field" if is_unknown else first["msg"].removeprefix("Value error, ")
    place = ".".join(printable(str(name)) for name in first["loc"]) or whole
    return f"{place}: {message}" if place else message
