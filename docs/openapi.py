"""Writes `docs/reference/openapi.json` from the routes: `python -m docs.openapi`, or `make reference`.

With `--check` it writes nothing, and exits with 1 if anything would change.
"""

import json
import sys
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "reference" / "openapi.json"


def current() -> dict[str, Any]:
    """Returns the OpenAPI document of the code, as it is after a way through JSON."""
    from slimseq.app.main import create_app
    from slimseq.app.settings import Settings
    from slimseq.models_store.places import embedded_store

    document: dict[str, Any] = json.loads(json.dumps(create_app(Settings(store=embedded_store())).openapi()))
    return document


def main() -> None:
    document = current()
    if "--check" not in sys.argv:
        PATH.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    elif json.loads(PATH.read_text(encoding="utf-8")) != document:
        sys.exit("The HTTP contract changed. If that is intended: make reference, and read the difference")


if __name__ == "__main__":
    main()
