"""Texts of these tests, in YAML files: paragraphs in several languages, and what outputs texts must have."""

from pathlib import Path
from typing import Any

import yaml


def tables_of(module: str) -> dict[str, Any]:
    """The tables of a test module: rows by the test that has them as its parameters."""
    found: dict[str, Any] = yaml.safe_load(Path(module).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found


FOREIGN: dict[str, list[str]] = tables_of(__file__)
ENGLISH = FOREIGN.pop("en")
