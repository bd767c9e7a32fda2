from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from slimseq.app.errors import InvalidRequest
from slimseq.app.evaluations.schemas import EvaluationRequest
from slimseq.app.generate.schemas import CompareRequest, SummarizeRequest, TranslateRequest
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task


def bounds(model: type[BaseModel], name: str) -> set[tuple[str, Any]]:
    schema = model.model_json_schema()["properties"][name]
    number = next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
    return {(key, number[key]) for key in ("type", "minimum", "maximum") if key in number}


@pytest.mark.parametrize("name", GenerationOptions.model_fields)
def test_options_have_the_bounds_of_the_manifest(name: str) -> None:
    assert bounds(TranslateRequest, name) == bounds(GenerationOptions, name)


def test_a_request_becomes_a_prompt() -> None:
    prompt = TranslateRequest.model_validate({"text": "Yes.", "num_beams": 2, "source": "en"}).prompt()

    assert prompt.texts == ["Yes."] and prompt.source == "en" and prompt.on_overflow == "truncate"
    assert {name: value for name, value in prompt.options.items() if value is not None} == {"num_beams": 2}


def test_a_comparison_refuses_fields_of_the_other_task() -> None:
    request = CompareRequest.model_validate({"text": "Yes.", "source": "en"})

    request.check_fields(Task.TRANSLATION)
    assert request.prompt().source == "en"
    with pytest.raises(InvalidRequest, match="source"):
        request.check_fields(Task.SUMMARIZATION)


@pytest.mark.parametrize("text", [5, True, None, {}, "", " ", [], [""], ["a", 5], [["a"]], "\udc00"])
def test_only_texts_are_texts(text: object) -> None:
    with pytest.raises(ValidationError):
        SummarizeRequest.model_validate({"text": text})


def test_a_text_may_hold_anything_that_is_unicode() -> None:
    text = "null \x00, emoji \U0001f600, line \u2028 and right-to-left \u202e"

    assert SummarizeRequest.model_validate({"text": text}).prompt().texts == [text]


def test_an_evaluation_takes_the_pairs_of_its_task() -> None:
    pair = {"document": "Long.", "summary": "Short."}

    request = EvaluationRequest.model_validate({"task": "summarization", "variants": ["original"], "pairs": [pair]})

    assert request.task is Task.SUMMARIZATION and request.pairs == [pair]
    with pytest.raises(ValidationError, match="source and target"):
        EvaluationRequest.model_validate({"task": "translation", "variants": ["original"], "pairs": [pair]})
