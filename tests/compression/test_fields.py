from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.fields import check_names, fields_of, filled


@dataclass(frozen=True)
class Inner:
    """Bounds.

    Args:
        steps: how many,
            at most.
    """

    steps: int | None = None


@dataclass(frozen=True)
class Outer:
    """Options.

    Args:
        rate: of learning.
        kind: which one.
        weights: by name.
    """

    inner: Inner = field(default_factory=Inner)
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    weights: Mapping[str, float] = field(default_factory=dict)


def test_nested_options_are_flat_fields_with_their_documentation() -> None:
    found = {each.name: each for each in fields_of(Outer)}

    assert list(found) == ["steps", "rate", "kind", "weights"]
    assert found["steps"].help == "how many, at most."
    assert found["rate"].default == 0.5


def test_flat_values_fill_nested_options() -> None:
    made = filled(Outer, {"steps": 3, "rate": "1e-4", "weights": {"news": 2}})

    assert made == Outer(Inner(3), 1e-4, "a", {"news": 2.0})


def test_a_value_of_the_wrong_kind_names_its_field() -> None:
    with pytest.raises(BadParameters, match=r"kind.*'a' or 'b'"):
        filled(Outer, {"kind": "c"})
    with pytest.raises(BadParameters, match=r"steps.*'many'"):
        filled(Outer, {"steps": "many"})


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(BadParameters, match="unknown key 'speed'; known are steps, rate, kind, weights"):
        check_names([Outer], ["rate", "speed"])
