"""Data of these tests in YAML files beside them: parameters of the tests, and paragraphs in several languages."""

from pathlib import Path
from typing import Any

import yaml


def tables_of(module: str) -> dict[str, Any]:
    """Returns the tables of a test module: by the name of a test, the rows that are its parameters."""
    tables: dict[str, Any] = yaml.safe_load(Path(module).with_suffix(".yaml").read_text(encoding="utf-8"))
    return tables


# Paragraphs by language, English apart.
FOREIGN: dict[str, list[str]] = tables_of(__file__)
ENGLISH = FOREIGN.pop("en")
