"""The names that a family gives are those of the model in transformers: each is a tensor, and no tensor is missing."""

from typing import Any

import pytest
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from slimseq.compression.models import architecture_of_model, family_of_model
from slimseq.inference.models.architecture import Attention, Cell, FeedForward
from tests.inference.graphs.test_related_models import BART_SHAPE, RELATED, STUDENTS, T5_SHAPE

MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "T5": (T5ForConditionalGeneration, T5Config, T5_SHAPE),
    "BART": (BartForConditionalGeneration, BartConfig, BART_SHAPE),
    **RELATED,
    **STUDENTS,
}


def modules_of(part: Attention | Cell | FeedForward) -> set[str | None]:
    """Returns the names of the modules of a part of a layer."""
    found: set[str | None] = set()
    for field, value in vars(part).items():
        # An activation has no tensors, and heads are no module.
        if field in ("activation", "heads"):
            continue
        found.update(value if isinstance(value, tuple) else [value])
    return found


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
                modules |= modules_of(part)
    named |= {f"{module}.{ending}" for module in modules if module for ending in ("weight", "bias")}

    assert family.title in name
    assert set(model.state_dict()) <= named
    assert {f"{module}.weight" for module in modules if module} <= set(model.state_dict())
