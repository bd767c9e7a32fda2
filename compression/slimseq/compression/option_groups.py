"""Groups of command line options, in the order in which `--help` shows them, and how options are declared.

An options dataclass is decorated with `flat(GROUP)`: its fields are then options of the verbs that take it, and keys of
the steps of a recipe. The text under a field is its help.
"""

from collections.abc import Sequence
from typing import Any

from cyclopts import Group, Parameter, Token

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


# An option such as `--weights news=2 --weights web=0.5`.
WEIGHTS = Parameter(accepts_keys=False, n_tokens=-1, consume_multiple=False, converter=_weights)
