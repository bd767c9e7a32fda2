"""Arbitrary content for property tests: JSON, and valid content of which one value is replaced."""

import copy
from typing import Any

from hypothesis import strategies as st

numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324])
# What a hand or a program may leave anywhere.
odd_texts = st.sampled_from(
    ["", "../outside", "/etc/passwd", "sha256:" + "0" * 64, "original", "2026-02-30", "1_000", "~"]
)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20) | odd_texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def altered(draw: st.DrawFn, valid: Any, values: st.SearchStrategy[Any] = json_values) -> Any:
    """Valid content in which one to three values are replaced, gone or new, at any depth."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(content)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=12))] = draw(values)
            case "add":
                holder.append(draw(values))
            case _:
                holder[key] = draw(values)
    return content


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns where values are: the mapping or list, and the key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in pairs for place in [(value, key), *_places(each)]]
