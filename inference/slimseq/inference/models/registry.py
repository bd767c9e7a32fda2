"""The registry of model families, by the `model_type` of transformers. A family is one file and one line here."""

from collections.abc import Mapping
from typing import Any

from slimseq.inference.models.architecture import Architecture
from slimseq.inference.models.bart import Bart
from slimseq.inference.models.family import ModelFamily, Tensors
from slimseq.inference.models.m2m100 import M2M100
from slimseq.inference.models.marian import Marian
from slimseq.inference.models.marian_student import MarianStudent
from slimseq.inference.models.mbart import MBart
from slimseq.inference.models.pegasus import Pegasus
from slimseq.inference.models.t5 import MT5, T5, UMT5
from slimseq.models_store.errors import BadSource

FAMILIES: dict[str, ModelFamily] = {
    family.model_type: family
    for family in (
        T5(),
        MT5(),
        UMT5(),
        Bart(),
        MBart(),
        M2M100(),
        Marian(),
        MarianStudent(),
        Pegasus(),
    )
}


def family_named(model_type: str | None) -> ModelFamily:
    """Returns the family of a `model_type`, or raises BadSource if there is none."""
    family = FAMILIES.get(model_type or "")
    if family is None:
        raise BadSource(f"model type {model_type!r} is not supported; Slimseq takes {', '.join(FAMILIES)}")
    return family


def architecture_of(config: Mapping[str, Any], tensors: Tensors) -> Architecture:
    """Reads a model's names and switches from its `config.json` and its tensors, or raises BadSource."""
    return family_named(config.get("model_type")).architecture(config, tensors)
