"""Writes `docs/reference/openapi.json` from the routes: `python -m docs.openapi`, or `make openapi`.

With `--check` it writes nothing, prints what would change, and exits with 1 if anything would.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "reference" / "openapi.json"
MAX_SHOWN_CHARACTERS = 120


def current() -> dict[str, Any]:
    from slimseq.app.main import create_app
    from slimseq.app.settings import Settings
    from slimseq.models_store.places import embedded_store

    document: dict[str, Any] = json.loads(json.dumps(create_app(Settings(store=embedded_store())).openapi()))
    return document


def checked_in() -> Any:
    return json.loads(PATH.read_text(encoding="utf-8"))


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yields a line for each place where two documents differ, with the place as a JSON pointer."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{place}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                yield f"removed {inner}"
            elif key not in old:
                yield f"added   {inner}"
            else:
                yield from differences(old[key], new[key], inner)
    elif old != new:
        yield f"changed {place}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:MAX_SHOWN_CHARACTERS]


def main() -> int:
    document = current()
    if "--check" not in sys.argv:
        PATH.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return 0
    changes = list(differences(checked_in(), document))
    if changes:
        sys.stdout.write("\n".join([*changes, "The HTTP contract changed. If that is intended: make openapi", ""]))
    return int(bool(changes))


if __name__ == "__main__":
    sys.exit(main())
