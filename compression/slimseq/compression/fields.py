"""Options as flat fields: what the command line's flags, their help and a recipe's keys are made from.

An options dataclass documents its fields in the `Args:` section of its docstring; a field that is itself such a
dataclass stands for that one's fields.
"""

import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from slimseq.compression.errors import BadParameters

Options = TypeVar("Options")

ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class OptionField:
    """One field: its name, its type, its default and one or two sentences on it."""

    name: str
    type: Any
    default: Any
    help: str


def fields_of(options: type[Any]) -> list[OptionField]:
    """Returns the fields of an options dataclass, those of nested ones in their place.

    Raises:
        TypeError: a field has no default.
    """
    hints = typing.get_type_hints(options)
    helps = _documented(options)
    found: list[OptionField] = []
    for field in fields(options):
        kind = hints[field.name]
        if is_dataclass(kind):
            found += fields_of(typing.cast(type[Any], kind))
            continue
        if field.default is not MISSING:
            default = field.default
        elif field.default_factory is not MISSING:
            default = field.default_factory()
        else:
            raise TypeError(f"{options.__name__}.{field.name} has no default")
        found.append(OptionField(field.name, kind, default, helps.get(field.name, "")))
    return found


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options' values, of `dataclasses.asdict`, with those of nested options in their place."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value) if isinstance(value, dict) else {name: value}
    return found


def filled(options: type[Options], values: Mapping[str, Any]) -> Options:
    """Makes an options object of flat values; what is not named keeps its default.

    Raises:
        BadParameters: a value is not of its field's type; the field is named.
    """
    hints = typing.get_type_hints(options)
    arguments: dict[str, Any] = {}
    for field in fields(typing.cast(Any, options)):
        kind = hints[field.name]
        if is_dataclass(kind):
            arguments[field.name] = filled(typing.cast(type[Any], kind), values)
        elif field.name in values:
            arguments[field.name] = _checked(field.name, kind, values[field.name])
    return options(**arguments)


def check_names(options: Sequence[type[Any]], names: Sequence[str]) -> None:
    """Checks that every name is a field of one of the options.

    Raises:
        BadParameters: one is not; those there are are named.
    """
    known = [field.name for kind in options for field in fields_of(kind)]
    for name in names:
        if name not in known:
            raise BadParameters(f"unknown key {name!r}; known are {', '.join(known) or 'none'}")


def _checked(name: str, kind: Any, value: Any) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value)
    except ValidationError as error:
        raise BadParameters(f"{name}: {error.errors()[0]['msg']}, not {value!r}") from error


def _documented(options: type[Any]) -> dict[str, str]:
    docstring = inspect.cleandoc(options.__doc__ or "")
    _, _, arguments = docstring.partition("Args:\n")
    return {name: " ".join(text.split()) for name, text in ARGUMENT.findall(arguments)}
