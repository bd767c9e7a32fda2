"""Requests and responses of `/experiments` and `/feedback`."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slimseq.app.generate.schemas import check_unicode, examples
from slimseq.evaluation.sequential.confidence_sequence import Verdict
from slimseq.models_store.manifest import Task

Conclusion = Literal["ahead", "equivalent", "undecided"]
# The id of a comparison of eight variants with names of 64 characters has less.
MAX_ID_CHARACTERS = 1024


class Arm(BaseModel):
    """An arm of an experiment."""

    model_config = ConfigDict(extra="forbid")

    variant: str = Field(min_length=1, max_length=64, description="Name of the variant that answers.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Weight. The arm gets its weight divided by the sum of all weights as its share of the traffic.",
    )


class ExperimentRequest(BaseModel):
    """A split of the traffic of a task between variants."""

    model_config = ConfigDict(extra="forbid") | examples(
        {
            "task": "translation",
            "name": "Is pruned good enough?",
            "arms": [{"variant": "quantized", "weight": 3}, {"variant": "pruned", "weight": 1}],
            "margin": 0.02,
        }
    )

    task: Task
    name: str = Field(min_length=1, max_length=200, description="What the experiment is to find out.")
    arms: list[Arm] = Field(min_length=2, max_length=8, description="The arms, each with another variant.")
    margin: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="Differences of mean ratings and of win rates up to this do not matter.",
    )

    @model_validator(mode="after")
    def _arms_differ(self) -> Self:
        if len({arm.variant for arm in self.arms}) < len(self.arms):
            raise ValueError("arms names a variant twice")
        check_unicode(self.name, "name ")
        return self


class MeanRating(BaseModel):
    """The mean of ratings between 0 and 1. Of each unit, the first rating counts."""

    count: int
    mean: float
    interval: tuple[float, float] = Field(description="Always-valid 95 % interval.")


class ArmLatency(BaseModel):
    """Total times of an arm's responses, in milliseconds, within 1 %."""

    p50_ms: float
    p95_ms: float


class ArmReport(BaseModel):
    """What an arm has shown so far."""

    variant: str
    weight: float
    share: float = Field(description="Share of the traffic that the arm gets.")
    responses: int = Field(description="Responses, without those of comparisons.")
    errors: int = Field(description="Requests that the service failed to answer (status 500 and above).")
    latency: ArmLatency | None
    ratings: MeanRating | None


class RatingDifference(BaseModel):
    """The mean rating of the first arm minus that of the second."""

    difference: float
    interval: tuple[float, float] = Field(description="Always-valid interval.")
    verdict: Verdict


class Votes(BaseModel):
    """The votes of comparisons of two arms. Of each unit, the first vote on both counts."""

    votes: int = Field(description="All votes, with ties.")
    wins: float = Field(description="Votes for the first arm. A tie is half a vote.")
    ties: int = Field(description="Votes for neither.")
    win_rate: float
    interval: tuple[float, float] = Field(description="Always-valid interval of the first arm's win rate.")
    verdict: Verdict


class PairReport(BaseModel):
    """Two arms beside each other. Verdicts are about the first one."""

    first: str
    second: str
    ratings: RatingDifference | None
    votes: Votes | None


class ExperimentConclusion(BaseModel):
    """What the experiment has shown so far. It is valid at any time at which one looks."""

    verdict: Conclusion
    arm: str | None = Field(description="The arm that is ahead of all others.")
    text: str = Field(description="The verdict in words.")


class ExperimentSummary(BaseModel):
    """An experiment without what it has shown."""

    id: str
    task: Task
    name: str
    status: Literal["running", "stopped"]
    arms: list[Arm]
    margin: float
    created_at: datetime
    stopped_at: datetime | None


class Experiment(ExperimentSummary):
    """An experiment and what it has shown so far."""

    arms: list[ArmReport]  # type: ignore[assignment]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion


class ExperimentList(BaseModel):
    """Experiments, the newest first."""

    experiments: list[ExperimentSummary]
    next: int | None = Field(description="`before` of the next page; null at the end.")


class FeedbackRequest(BaseModel):
    """The rating of a response, or the preferred variant of a comparison; null if all are equally good."""

    model_config = ConfigDict(extra="forbid") | examples(
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
    def _is_one_of_both(self) -> Self:
        given = {name for name in ("response", "rating", "comparison", "preferred") if getattr(self, name) is not None}
        if given == {"comparison"} and "preferred" in self.model_fields_set:
            return self
        if given not in ({"response", "rating"}, {"comparison", "preferred"}):
            raise ValueError("give either response and rating, or comparison and preferred, which is null for a tie")
        return self


class Feedback(BaseModel):
    """Feedback that was recorded."""

    task: Task
    variant: str | None = Field(description="The variant that was rated or preferred. Null for a tie.")
    experiment: str | None = Field(description="`id` of the experiment that it counts for.")
