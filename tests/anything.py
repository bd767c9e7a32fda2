"""Arbitrary content for property tests: JSON, and valid content of which one value is replaced."""

import copy
from typing import Any

from hypothesis import strategies as st

numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63, 10**400])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def altered(draw: st.DrawFn, valid: Any, values: st.SearchStrategy[Any] = json_values) -> Any:
    """Valid content with one value replaced, one key added, or one removed, at any depth."""
    content = copy.deepcopy(valid)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return content
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            place[key] = draw(values)
        elif change == "remove":
            del place[key]
        elif isinstance(place, dict):
            place[draw(st.text(max_size=12))] = draw(values)
        else:
            place.append(draw(values))
        return content
