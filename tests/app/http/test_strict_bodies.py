"""The models of all JSON bodies are strict: pydantic converts no type into another. All routes are looked through."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from fastapi import params
from fastapi.routing import APIRoute
from pydantic import BaseModel

from slimseq.app.dialects import huggingface, libretranslate
from slimseq.app.generate import routes as generate
from slimseq.app.main import ROUTERS

ALL_ROUTERS = (*ROUTERS, generate.router, huggingface.router, libretranslate.router)


def bodies() -> Iterator[Any]:
    """The annotations of the JSON bodies of all routes. LibreTranslate's own fields are also those of forms."""
    for router in ALL_ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for each in route.dependant.body_params:
                if not isinstance(each.field_info, params.Form):
                    yield each.field_info.annotation


def models(annotation: Any) -> set[type[BaseModel]]:
    """A model, or those in a union or a list, and what they are made of."""
    if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
        return {model for each in get_args(annotation) for model in models(each)}
    return {annotation, *(model for field in annotation.model_fields.values() for model in models(field.annotation))}


def test_every_json_body_is_strict() -> None:
    found = {model for each in bodies() for model in models(each)}

    names = {each.__name__ for each in found}
    assert {"TranslateRequest", "EvaluationRequest", "ExperimentRequest", "Arm", "FeedbackRequest"} <= names
    assert [each.__name__ for each in found if not each.model_config.get("strict")] == []


def test_the_fields_that_are_not_strict_are_enumerations_which_json_has_as_strings() -> None:
    not_strict = {
        field.annotation
        for each in bodies()
        for model in models(each)
        for field in model.model_fields.values()
        for option in field.metadata
        if getattr(option, "strict", None) is False
    }

    assert not_strict
    assert all(isinstance(each, type) and issubclass(each, Enum) for each in not_strict)
