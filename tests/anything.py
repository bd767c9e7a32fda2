"""Hypothesis strategies for files that anyone may have edited: any JSON, or valid content with some values changed."""

import copy
from typing import Any

from hypothesis import strategies as st

# The listed ones are at the limits of 32 and 64 bits, or beyond what a float holds.
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324])
# Texts that have a meaning in some field, and are wrong in most others.
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
        positions = _positions(content)
        if not positions:
            break
        holder, key = draw(st.sampled_from(positions))
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=12))] = draw(values)
            case "add":
                holder.append(draw(values))
            case "replace":
                holder[key] = draw(values)
    return content


def _positions(value: Any) -> list[tuple[Any, Any]]:
    """Returns the position of each value at any depth: the mapping or list that holds it, and its key or index."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return []
    positions = []
    for key, inner in pairs:
        positions += [(value, key), *_positions(inner)]
    return positions
