"""Documents of mappings and lists, such as manifests and recipes, with something wrong in them."""

import copy
from typing import Any

from hypothesis import strategies as st

# Values that a hand or a program may leave anywhere in a document.
ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "../outside", "/etc/passwd", "sha256:" + "0" * 64, "original", "2026-02-30", "1_000", "~"]),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers(), max_size=3),
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document of mappings and lists, in which one to three values are others, gone or new."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(_places(changed)))
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=10))] = draw(ODD_VALUES)
            case _:
                holder[key] = draw(ODD_VALUES)
        if not _places(changed):
            break
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns where values are: the mapping or list, and the key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in pairs for place in [(value, key), *_places(each)]]
