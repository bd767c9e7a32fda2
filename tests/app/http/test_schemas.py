from typing import Any

import pytest
from pydantic import BaseModel

from slimseq.app.generate.schemas import SummarizeRequest, TranslateRequest
from slimseq.models_store.generation import GenerationOptions


def bounds(model: type[BaseModel], name: str) -> set[tuple[str, Any]]:
    schema = model.model_json_schema()["properties"][name]
    number = next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
    return {(key, number[key]) for key in ("type", "minimum", "maximum") if key in number}


@pytest.mark.parametrize("name", GenerationOptions.model_fields)
def test_options_have_the_bounds_of_the_manifest(name: str) -> None:
    assert bounds(TranslateRequest, name) == bounds(GenerationOptions, name)


def test_a_text_may_hold_anything_that_is_unicode() -> None:
    text = "null \x00, emoji \U0001f600, line \u2028 and right-to-left \u202e"

    assert SummarizeRequest.model_validate({"text": text}).prompt().texts == [text]
