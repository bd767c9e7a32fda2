"""The answers of `/experiments` and `/feedback`."""

from datetime import datetime
from typing import Literal

from slimseq.client.answers import Answer, Interval

Conclusion = Literal["ahead", "equivalent", "undecided"]


class Arm(Answer):
    """An arm of an experiment: a variant, and its weight in the split of the traffic."""

    variant: str
    weight: float


class ExperimentSummary(Answer):
    """An experiment without what it has shown."""

    id: str
    task: str
    name: str
    status: Literal["running", "stopped"]
    arms: list[Arm]
    margin: float
    created_at: datetime
    stopped_at: datetime | None


class MeanRating(Answer):
    """The mean of ratings between 0 and 1, with an always-valid 95 % interval."""

    count: int
    mean: float
    interval: Interval


class ArmLatency(Answer):
    """Total times of an arm's latest responses, in milliseconds."""

    p50_ms: float
    p95_ms: float


class ArmReport(Arm):
    """What an arm has shown so far. `share` is that of the traffic."""

    share: float
    responses: int
    errors: int
    latency: ArmLatency | None
    ratings: MeanRating | None


class RatingDifference(Answer):
    """The mean rating of the first arm minus that of the second, with an always-valid interval."""

    difference: float
    interval: Interval
    verdict: str


class Votes(Answer):
    """The votes on comparisons of two arms, and the first one's win rate with an always-valid interval.

    A tie is half a win.
    """

    votes: int
    wins: float
    ties: int = 0
    win_rate: float
    interval: Interval
    verdict: str


class PairReport(Answer):
    """Two arms beside each other. Verdicts are about the first one."""

    first: str
    second: str
    ratings: RatingDifference | None
    votes: Votes | None


class ExperimentConclusion(Answer):
    """The verdict on the experiment, in words as `text`. `arm` is the arm that is ahead of all others."""

    verdict: Conclusion
    arm: str | None
    text: str


class Experiment(ExperimentSummary):
    """An experiment and what it has shown so far. It is valid at any time at which one looks."""

    arms: list[ArmReport]  # type: ignore[assignment]
    pairs: list[PairReport]
    conclusion: ExperimentConclusion

    def arm(self, variant: str) -> ArmReport:
        """Returns the arm of a variant.

        Raises:
            KeyError: the experiment has none.
        """
        return {each.variant: each for each in self.arms}[variant]


class Feedback(Answer):
    """Feedback that was recorded: the variant that was rated or preferred (None: a tie), and its experiment."""

    task: str
    variant: str | None
    experiment: str | None
