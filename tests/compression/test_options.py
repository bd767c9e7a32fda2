from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import check_names, flat_values, option_names, read_options


@dataclass(frozen=True)
class Inner:
    steps: int | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    weights: Mapping[str, float] = field(default_factory=dict)


def test_nested_options_are_flat_keys() -> None:
    assert list(option_names(Outer)) == ["steps", "rate", "kind", "weights"]
    assert flat_values(Outer(Inner(3))) == {"steps": 3, "rate": 0.5, "kind": "a", "weights": {}}


def test_flat_values_fill_nested_options() -> None:
    made = read_options(Outer, {"steps": 3, "rate": "1e-4", "weights": {"news": 2}})

    assert made == Outer(Inner(3), 1e-4, "a", {"news": 2.0})


def test_a_value_of_the_wrong_kind_names_its_field() -> None:
    with pytest.raises(BadParameters, match=r"kind.*'a' or 'b'"):
        read_options(Outer, {"kind": "c"})
    with pytest.raises(BadParameters, match=r"steps.*'many'"):
        read_options(Outer, {"steps": "many"})


def test_an_unknown_name_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(BadParameters, match="unknown key 'speed'; known are steps, rate, kind, weights"):
        check_names([Outer], ["rate", "speed"])
