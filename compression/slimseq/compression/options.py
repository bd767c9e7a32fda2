"""How options are declared, once for the command line and for recipes.

An options dataclass is decorated with `flat(GROUP)`: its fields are then options of the verbs that take it, and keys of
the steps of a recipe. The text under a field is its help. A field that is itself an options dataclass stands for the
fields of that one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from slimseq.compression.errors import BadParameters

Options = TypeVar("Options")
# Groups of options, in the order in which `--help` shows them.
COMMON = Group("Common options", sort_key=1)
SCHEME = Group("Quantization", sort_key=2)
STRUCTURE = Group("What to keep", sort_key=3)
STUDENT = Group("Student", sort_key=4)
ARCHITECTURE = Group("Architecture of a new model", sort_key=5)
ARTIFACT = Group("Model card and generation defaults", sort_key=6)
DATA = Group("Data", sort_key=7)
MIXTURE = Group("Mixture of the training data", sort_key=8)
TRAINING = Group("Training", sort_key=9)
DISTILLATION = Group("Distillation", sort_key=10)
SEQUENCE_LEVEL = Group("Sequence-level distillation", sort_key=11)
OUTPUT = Group("Store and output", sort_key=12)


def flat(group: Group) -> Parameter:
    """Returns a class decorator: every field is an option under its own name, in this group."""
    return Parameter(name="*", group=group)


def _weights(_: Any, tokens: Sequence[Token]) -> dict[str, float]:
    pairs = [token.value.rpartition("=") for token in tokens]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("give NAME=NUMBER")
    return {name: float(number) for name, _, number in pairs}


POSITIVE = Parameter(validator=Number(gte=1))
# An option such as `--weights news=2 --weights web=0.5`.
WEIGHTS = Parameter(accepts_keys=False, n_tokens=-1, consume_multiple=False, converter=_weights)


def without(*names: str) -> Parameter:
    """Returns an annotation that leaves some fields of an options dataclass out of a verb's options."""
    return Parameter(parse=re.compile(f"^(?!({'|'.join(names)})$)"))


def flat_values(options: Any) -> dict[str, Any]:
    """Returns the values of an options object by name. Nested options are replaced by their own fields."""
    found: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        found |= flat_values(value) if is_dataclass(value) else {field.name: value}
    return found


def all_values(options: Sequence[Any]) -> dict[str, Any]:
    """Returns the values of several options objects by name."""
    found: dict[str, Any] = {}
    for each in options:
        found |= flat_values(each)
    return found


def check_names(kinds: Sequence[type[Any]], names: Sequence[str]) -> None:
    """Raises BadParameters for a name that no field of some options dataclasses has."""
    known = [name for kind in kinds for name in flat_values(kind())]
    for name in names:
        if name not in known:
            raise BadParameters(f"unknown key {name!r}; known are {', '.join(known) or 'none'}")


def read_options(kind: type[Options], values: Mapping[str, Any]) -> Options:
    """Makes an options object from flat values. Options without a value keep their default."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(_nested(kind, values))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadParameters(f"{first['loc'][-1]}: {first['msg']}, not {first['input']!r}") from error


def _nested(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns flat values in the nesting of an options dataclass."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if is_dataclass(field.type):
            found[field.name] = _nested(cast(type[Any], field.type), values)
        elif field.name in values:
            found[field.name] = values[field.name]
    return found
