"""The docs list every name that users depend on: settings, endpoints, commands with their options, metrics, extras.

A new name fails the test until it is added to the list, so that nobody adds one by accident.
"""

import re

from docs.surface import LIST, surface


def listed() -> dict[str, set[str]]:
    """Returns the names in the list, by the title of their part."""
    found: dict[str, set[str]] = {}
    for part in LIST.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found[title.rpartition(":")[0]] = set(re.findall(r"^- (.*)$", body, re.MULTILINE))
    return found


def test_everything_that_a_user_can_name_is_in_the_list_and_nothing_else() -> None:
    names = listed()

    differences = {kind: sorted(set(found) ^ names[kind]) for kind, found in surface().items()}

    assert differences == {kind: [] for kind in names}
