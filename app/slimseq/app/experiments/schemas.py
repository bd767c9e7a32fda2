"""Requests and responses of `/experiments` and `/feedback`. `slimseq.answers` has those that the client reads too."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.answers import ExperimentState, WhenDecided
from slimseq.app.generate.schemas import Language, check_languages, check_unicode, examples
from slimseq.models_store.manifest import Task

# The longest id is that of a comparison of eight variants, whose names have 64 characters each. It is shorter.
MAX_ID_CHARACTERS = 1024


class Arm(BaseModel):
    """An arm of an experiment."""

    model_config = ConfigDict(extra="forbid", strict=True)

    variant: str = Field(min_length=1, max_length=64, description="Name of the variant that answers.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Weight. The arm gets its weight divided by the sum of all weights as its share of the traffic.",
    )


class ExperimentRequest(BaseModel):
    """A split of the traffic of a pair of languages between variants."""

    model_config = ConfigDict(extra="forbid", strict=True) | examples(
        {
            "task": "translation",
            "name": "Is pruned good enough?",
            "arms": [{"variant": "quantized", "weight": 3}, {"variant": "pruned", "weight": 1}],
            "margin": 0.02,
        }
    )

    # Not strict, because JSON has no enums: the name of a task becomes a `Task`.
    task: Annotated[Task, Field(strict=False)]
    name: str = Field(min_length=1, max_length=200, description="What the experiment is to find out.")
    arms: list[Arm] = Field(min_length=2, max_length=8, description="The arms, each with another variant.")
    languages: list[Language] | None = Field(
        default=None,
        max_length=2,
        description="The pair of languages whose requests are split: source and target. All arms must translate it. "
        "Default: the pair that the arms have in common. Of models of many languages it is that of their defaults.",
        examples=[["en", "de"]],
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="Differences of mean ratings and of win rates up to this do not matter.",
    )
    when_decided: WhenDecided = Field(
        default="tell",
        description="What happens once an arm is ahead of all others, or all are equivalent. `promote`: the experiment "
        "stops, and the arm that is ahead becomes the default variant of its pair. `stop`: it stops. `tell`: it goes "
        "on, and its `conclusion` tells.",
    )
    drop_losing: bool = Field(default=False, description="Whether an arm gets no traffic once another is ahead of it.")

    @model_validator(mode="after")
    def _fields_are_valid(self) -> Self:
        if len({arm.variant for arm in self.arms}) < len(self.arms):
            raise ValueError("arms names a variant twice")
        check_languages(self.task, self.languages)
        check_unicode(self.name, "name ")
        return self


class ExperimentSummary(ExperimentState):
    """An experiment without what it has shown."""

    arms: list[Arm]


class ExperimentList(BaseModel):
    """Experiments, the newest first."""

    experiments: list[ExperimentSummary]
    next: int | None = Field(description="`before` of the next page; null at the end.")


class FeedbackRequest(BaseModel):
    """The rating of a response, or the preferred variant of a comparison; null if all are equally good."""

    model_config = ConfigDict(extra="forbid", strict=True) | examples(
        {"response": "0c9b5a0c4f0e4d0c8a7d6f5e4d3c2b1a", "rating": 1},
        {"comparison": "0c9b5a0c4f0e4d0c8a7d6f5e4d3c2b1a", "preferred": "quantized"},
    )

    response: str | None = Field(default=None, max_length=MAX_ID_CHARACTERS, description="`id` of a response.")
    rating: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Rating, from 0 (bad) to 1 (good)."
    )
    comparison: str | None = Field(default=None, max_length=MAX_ID_CHARACTERS, description="`id` of a comparison.")
    preferred: str | None = Field(
        default=None,
        max_length=64,
        description="Name of the variant with the better outputs. An explicit null: all are equally good.",
    )

    @model_validator(mode="after")
    def _is_rating_or_vote(self) -> Self:
        given = {name for name in ("response", "rating", "comparison", "preferred") if getattr(self, name) is not None}
        # A tie is an explicit null. A body without `preferred` is refused.
        is_tie = given == {"comparison"} and "preferred" in self.model_fields_set
        if not is_tie and given not in ({"response", "rating"}, {"comparison", "preferred"}):
            raise ValueError("give either response and rating, or comparison and preferred, which is null for a tie")
        return self
