"""The names that a family gives are those of the model in transformers: each is a tensor, and no tensor is missing."""

from itertools import chain
from typing import Any

import pytest
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from slimseq.compression.models import architecture_of_model, family_of_model
from tests.inference.graphs.test_related_models import BART_SHAPE, RELATED, STUDENTS, T5_SHAPE

MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "T5": (T5ForConditionalGeneration, T5Config, T5_SHAPE),
    "BART": (BartForConditionalGeneration, BartConfig, BART_SHAPE),
    **RELATED,
    **STUDENTS,
}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_names_of_a_family_are_those_of_the_tensors_of_its_models(name: str) -> None:
    kind, configuration, switches = MODELS[name]
    model = kind(configuration(**switches))
    architecture, family = architecture_of_model(model), family_of_model(model)

    named = {architecture.output_table, *family.token_matrices, family.output_bias}
    modules: set[str | None] = set()
    for stack in architecture.stacks:
        modules |= {stack.positions, *stack.norms}
        for layer in stack.layers:
            for part in layer.parts:
                # An activation and the number of heads have no tensors.
                names = [name for field, name in vars(part).items() if field not in ("activation", "heads")]
                modules |= {*chain.from_iterable(each if isinstance(each, tuple) else (each,) for each in names)}
    named |= {f"{module}.{ending}" for module in modules if module for ending in ("weight", "bias")}

    assert family.title in name
    assert set(model.state_dict()) <= named
    assert {f"{module}.weight" for module in modules if module} <= set(model.state_dict())
