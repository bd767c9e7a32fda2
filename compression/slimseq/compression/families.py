"""The table of steps that work for each model type. Recipes and commands are checked against it.

The guide shows the table; a test compares every cell with the step's result for a tiny model of that type.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize_options import SchemeName
from slimseq.inference.models.marian_student import MarianStudent
from slimseq.inference.models.registry import FAMILIES

# Model types of transformers, as people write them.
NAMES = {model_type: family.title for model_type, family in FAMILIES.items()}

# The row of the technique's option that only recipes have.
PRUNE_TO_PLAN = "prune with a plan"

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class FamilyStep:
    """One row of the table: the step as the command line writes it, and its technique, if it has one.

    `is_wanted` says whether the technique's settings ask for this step. `refused` has the model types for which the
    step does not work, each with the reason.
    """

    name: str
    technique: str = ""
    is_wanted: Callable[[Settings], bool] = lambda _: True
    refused: Mapping[str, str] = field(default_factory=dict)


FP16_REFUSED = {model_type: family.fp16_refusal for model_type, family in FAMILIES.items() if family.fp16_refusal}
CTRANSLATE2_REFUSED = {
    model_type: family.ctranslate2_refusal for model_type, family in FAMILIES.items() if family.ctranslate2_refusal
}
NOT_PUBLISHED_IN_INT8 = {
    model_type: "no model of the family is published in int8"
    for model_type in FAMILIES
    if model_type != MarianStudent.model_type
}
REFUSED = {
    "fp16": FP16_REFUSED,
    "int8-published": NOT_PUBLISHED_IN_INT8,
    "ctranslate2-int8": CTRANSLATE2_REFUSED,
    "ctranslate2-int8-float16": CTRANSLATE2_REFUSED,
}

HEADS_REFUSED = {
    model_type: "its positions are computed from the width, which would fall along with the heads"
    for model_type, family in FAMILIES.items()
    if not family.stores_positions
}


def _quantized(scheme: str) -> FamilyStep:
    return FamilyStep(
        f"quantize --scheme {scheme}",
        "quantize",
        lambda settings: bool(settings["scheme"] == scheme),
        REFUSED.get(scheme, {}),
    )


STEPS = (
    FamilyStep("compress"),
    FamilyStep("import"),
    FamilyStep("train"),
    FamilyStep("train --from", "train"),
    FamilyStep(
        "prune --encoder-layers --decoder-layers",
        "prune",
        lambda settings: settings["encoder_layers"] is not None or settings["decoder_layers"] is not None,
    ),
    FamilyStep("prune --heads", "prune", lambda settings: settings["heads"] is not None, HEADS_REFUSED),
    FamilyStep("prune --feed-forward", "prune", lambda settings: bool(settings["feed_forward"] != 1)),
    FamilyStep("prune --vocabulary", "prune", lambda settings: settings["vocabulary"] is not None),
    FamilyStep(PRUNE_TO_PLAN, "prune", lambda settings: settings["plan"] is not None),
    FamilyStep("distill", "distill"),
    FamilyStep("average", "average"),
    FamilyStep("decode", "decode"),
    *map(_quantized, get_args(SchemeName)),
    FamilyStep("export --format onnx"),
    FamilyStep("export --format ctranslate2", refused=CTRANSLATE2_REFUSED),
    FamilyStep("evaluate, benchmark, serve"),
)


def check_step(model_type: str, technique: str, settings: Settings) -> None:
    """Checks that a technique can do what its settings ask for with a model."""
    rows = [step for step in STEPS if step.technique == technique]
    for step in rows:
        if model_type in step.refused and step.is_wanted(settings):
            working = ", ".join(f"`{each.name}`" for each in rows if model_type not in each.refused)
            raise BadParameters(
                f"`{step.name}` does not work for {NAMES[model_type]}: {step.refused[model_type]}. "
                f"What works: {working or 'no other way'}"
            )


def table() -> str:
    """Returns the table as Markdown, with the reasons for what does not work below it."""
    rows = [["step", *NAMES.values()], ["---", *(":---:" for _ in NAMES)]]
    rows += [
        [f"`{step.name}`", *("no" if model_type in step.refused else "yes" for model_type in NAMES)] for step in STEPS
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    reasons = {
        f"- `{step.name}`, {' and '.join(NAMES[each] for each in step.refused)}: {next(iter(step.refused.values()))}."
        for step in STEPS
        if step.refused
    }
    return "\n".join([*lines, "", *sorted(reasons)])
