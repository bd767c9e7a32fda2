"""Validation errors of pydantic as one line of text: which fields are wrong, and how."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

PARAMETERS = ("query", "path", "header", "cookie")
OWN_MESSAGES = ("value_error", "slimseq_text")
MAX_SHOWN_CHARACTERS = 60
MAX_SHOWN_ERRORS = 5
MESSAGES = {
    "extra_forbidden": "is not a field here",
    "missing": "is required",
    "model_attributes_type": "the body must be a JSON object",
    "model_type": "must be a JSON object",
}


def describe(errors: Sequence[Mapping[str, Any]]) -> str:
    """Returns which fields are wrong and how, from pydantic's list of errors."""
    described = list(dict.fromkeys(f"{_place(error['loc'])}{_message(error)}" for error in errors))
    shown = described[:MAX_SHOWN_ERRORS]
    hidden = len(described) - len(shown)
    return "; ".join(shown) + (f"; and {hidden} more" if hidden else "")


def _place(location: Sequence[str | int]) -> str:
    first, *rest = location or ("",)
    if first not in ("body", *PARAMETERS):
        rest = [first, *rest]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{_shortened(part)}" for part in rest).removeprefix(".")
    kind = f"{first} parameter " if first in PARAMETERS else ""
    return f"{kind}{path}: " if path else ""


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_SHOWN_CHARACTERS else f"{name[:MAX_SHOWN_CHARACTERS]}…"


def _message(error: Mapping[str, Any]) -> str:
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "missing" and tuple(error["loc"]) == ("body",):
        return "a JSON body is required"
    if kind in MESSAGES:
        return MESSAGES[kind]
    if kind == "too_short":
        needed = f"needs at least {context['min_length']}, not {context['actual_length']}"
        place = error["loc"]
        # A list with commas between its entries is one value of the query.
        return f"{needed}; repeat it: {place[1]}=…&{place[1]}=…" if place[0] == "query" else needed
    if kind == "too_long":
        return f"takes at most {context['max_length']}, not {context['actual_length']}"
    message = re.sub(r"^(Value error, |Input |String |List )", "", str(error["msg"]))
    if kind in OWN_MESSAGES or not isinstance(given, bool | int | float | str):
        return message
    shown = json.dumps(given, ensure_ascii=False)
    return f"{message}, not {shown}" if len(shown) <= MAX_SHOWN_CHARACTERS else message
