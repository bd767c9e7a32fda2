"""The answers of `/experiments` and `/feedback`: an experiment, and what its arms have shown so far."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from slimseq.answers.interval import Interval
from slimseq.models_store.manifest import Task

# How the first of two arms stands to the second one.
Verdict = Literal["ahead", "behind", "equivalent", "undecided"]
# What happens to an experiment once an arm is ahead, or all arms are equivalent.
WhenDecided = Literal["promote", "stop", "tell"]


class MeanRating(BaseModel):
    """The mean of ratings between 0 and 1. Of each unit, the first rating counts."""

    count: int
    mean: float
    interval: Interval = Field(description="Always-valid 95 % interval.")


class ArmReport(BaseModel):
    """What an arm has shown so far."""

    variant: str
    weight: float
    share: float = Field(description="Share of the traffic that the arm gets.")
    responses: int = Field(description="Responses, without those of comparisons.")
    errors: int = Field(description="Requests that the service failed to answer (status 500 and above).")
    ratings: MeanRating | None
    dropped: bool = Field(description="Whether it was dropped early, since another arm is ahead of it.")


class RatingDifference(BaseModel):
    """The mean rating of the first arm minus that of the second."""

    difference: float
    interval: Interval = Field(description="Always-valid interval.")
    verdict: Verdict


class Votes(BaseModel):
    """The votes of comparisons of two arms. Of each unit, the first vote on both counts."""

    votes: int = Field(description="All votes, with ties.")
    wins: float = Field(description="Votes for the first arm. A tie is half a vote.")
    ties: int = Field(description="Votes for neither.")
    win_rate: float
    interval: Interval = Field(description="Always-valid interval of the first arm's win rate.")
    verdict: Verdict


class PairReport(BaseModel):
    """Two arms beside each other. Verdicts are about the first one."""

    first: str
    second: str
    ratings: RatingDifference | None
    votes: Votes | None


class ExperimentConclusion(BaseModel):
    """What the experiment has shown so far. It is valid at any time at which one looks."""

    verdict: Literal["ahead", "equivalent", "undecided"]
    arm: str | None = Field(description="The arm that is ahead of all others, or the only one left.")
    text: str = Field(description="The verdict in words.")


class ExperimentState(BaseModel):
    """An experiment, without its arms."""

    id: str
    task: Task
    languages: list[str] | None = Field(
        default=None,
        description="The pair of languages whose requests it splits, or the language of summaries. None for "
        "experiments that stopped before experiments had one.",
    )
    name: str
    status: Literal["running", "stopped"]
    margin: float
    when_decided: WhenDecided
    drop_losing: bool
    created_at: datetime
    stopped_at: datetime | None
    promoted: str | None = Field(
        description="The arm that became the default variant of its pair of languages. The last one of a pair counts."
    )


class Experiment(ExperimentState):
    """An experiment and what it has shown so far."""

    arms: list[ArmReport]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion

    def arm(self, variant: str) -> ArmReport:
        """Returns the arm of a variant. Raises a `KeyError` if there is none."""
        for arm in self.arms:
            if arm.variant == variant:
                return arm
        raise KeyError(variant)


class Feedback(BaseModel):
    """Feedback that was recorded."""

    task: Task
    variant: str | None = Field(description="The variant that was rated or preferred. Null for a tie.")
    experiment: str | None = Field(description="`id` of the experiment that it counts for.")
