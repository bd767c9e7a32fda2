"""Experiments: what counts, on both databases, what a report costs, and how one is deleted."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from slimseq.app.errors import ExperimentRuns, TooManyExperiments, UnknownExperiment, UnknownResponse
from slimseq.app.http.schemas.experiment import Arm, Experiment, ExperimentRequest, Feedback, FeedbackRequest
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import Base
from slimseq.app.jobs.experiments import experiments
from slimseq.app.jobs.experiments.experiments import ExperimentService
from slimseq.app.jobs.experiments.feedback import FeedbackService
from slimseq.app.jobs.experiments.responses import ResponseLog
from slimseq.app.jobs.experiments.traffic import ExperimentTraffic, Split
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Task

ARMS = ("original", "compact")


class AnyVariant:
    """A chooser to whom every name is a variant's."""

    def choose(self, task: Task, choice: Any) -> str:
        return str(choice.variant)


class Parts:
    """The services of experiments on one database, without models."""

    def __init__(self, database: Database) -> None:
        metrics = ServiceMetrics("test")
        self.database = database
        self.responses = ResponseLog(database)
        traffic = ExperimentTraffic(database, self.responses, metrics)
        chooser: Any = AnyVariant()
        self.experiments = ExperimentService(database, chooser, traffic, self.responses)
        self.feedback = FeedbackService(database, self.responses, metrics)

    async def start(self, *arms: str, task: str = "translation") -> str:
        listed = [{"variant": name} for name in arms or ARMS]
        request = ExperimentRequest.model_validate({"task": task, "name": "one", "arms": listed})
        return (await self.experiments.start(request)).id

    def respond(self, experiment: str, identifier: str, arm: str, **more: Any) -> None:
        fixed = {"task": "translation", "variant": arm, "experiment": experiment, "arm": arm}
        self.responses.add(id=identifier, **fixed, **{"total_ms": 10.0} | more)

    def compare(self, experiment: str, comparison: str, *arms: str, unit: str | None = None) -> None:
        for arm in arms or ARMS:
            self.respond(experiment, f"{comparison} {arm}", arm, comparison=comparison, unit=unit)

    async def rate(self, response: str, rating: float, unit: str | None = None) -> Feedback:
        return await self.feedback.post(FeedbackRequest(response=response, rating=rating), unit)

    async def vote(self, comparison: str, preferred: str | None, unit: str | None = None) -> Feedback:
        return await self.feedback.post(FeedbackRequest(comparison=comparison, preferred=preferred), unit)

    async def votes(self, experiment: str) -> Mapping[tuple[str, str], tuple[int, float, int]]:
        pairs = (await self.experiments.get(experiment)).pairs
        return {(p.first, p.second): (p.votes.votes, p.votes.wins, p.votes.ties) for p in pairs if p.votes}


@pytest.fixture
def parts(database: Database) -> Parts:
    return Parts(database)


def test_what_an_arm_has_shown_is_counted(parts: Parts) -> None:
    draw = random.Random(0)
    expected = {arm: ConfidenceSequence() for arm in ARMS}

    async def scenario() -> Experiment:
        experiment = await parts.start()
        for number in range(60):
            arm = ARMS[number % 2]
            parts.respond(experiment, str(number), arm, total_ms=100.0 * (number + 1))
            parts.respond(experiment, f"failed {number}", "compact", problem="internal-error", total_ms=None)
            rating = draw.random()
            expected[arm].update(rating)
            await parts.rate(str(number), rating)
        return await parts.experiments.get(experiment)

    report = asyncio.run(scenario())

    assert [(arm.responses, arm.errors) for arm in report.arms] == [(30, 0), (30, 60)]
    for arm in report.arms:
        sequence = expected[arm.variant]
        assert arm.ratings is not None and arm.latency is not None
        assert (arm.ratings.count, arm.ratings.mean) == pytest.approx((30, sequence.mean))
        assert arm.ratings.interval == pytest.approx(sequence.interval())
        assert arm.latency.p50_ms == pytest.approx(3000, rel=0.05)


def test_a_unit_that_rates_many_responses_counts_once(parts: Parts) -> None:
    async def scenario() -> Experiment:
        experiment = await parts.start()
        # Two people, one in each arm: one likes everything, the other nothing. That says nothing about the arms.
        for number in range(40):
            parts.respond(experiment, str(number), ARMS[number % 2], unit=f"unit {number % 2}")
            await parts.rate(str(number), float(number % 2))
        return await parts.experiments.get(experiment)

    report = asyncio.run(scenario())

    assert [arm.ratings and arm.ratings.count for arm in report.arms] == [1, 1]
    assert report.conclusion.verdict == "undecided"


def test_a_unit_that_judges_everything_at_once_counts_once(parts: Parts) -> None:
    async def scenario() -> Experiment:
        experiment = await parts.start()
        for number in range(12):
            parts.respond(experiment, str(number), ARMS[number % 2])
            parts.compare(experiment, f"comparison {number}")
        ratings = [parts.rate(str(number), 1.0, "someone") for number in range(12)]
        votes = [parts.vote(f"comparison {number}", "compact", "someone") for number in range(12)]
        await asyncio.gather(*ratings, *votes)
        return await parts.experiments.get(experiment)

    report = asyncio.run(scenario())

    assert sum(arm.ratings.count for arm in report.arms if arm.ratings) == 1
    assert report.pairs[0].votes is not None and report.pairs[0].votes.votes == 1


def test_votes_count_for_the_pairs_that_were_compared(parts: Parts) -> None:
    async def scenario() -> Mapping[tuple[str, str], tuple[int, float, int]]:
        experiment = await parts.start()
        for number in range(10):
            parts.compare(experiment, str(number))
            await parts.vote(str(number), "compact" if number < 7 else "original")
        # Compared alone with a variant that is no arm.
        parts.compare(experiment, "alone", "original")
        parts.responses.add(id="no arm", task="translation", variant="pruned", comparison="alone")
        await parts.vote("alone", "original")
        return await parts.votes(experiment)

    assert asyncio.run(scenario()) == {("original", "compact"): (10, 3.0, 0)}


def test_of_each_unit_the_first_vote_on_two_arms_counts(parts: Parts) -> None:
    async def scenario() -> Mapping[tuple[str, str], tuple[int, float, int]]:
        experiment = await parts.start("a", "b", "c")
        for number in range(3):
            parts.compare(experiment, f"ab {number}", "a", "b", unit="someone")
            await parts.vote(f"ab {number}", "b")
        # The same unit on other pairs too, and another one, which names itself when it votes.
        parts.compare(experiment, "abc", "a", "b", "c", unit="someone")
        await parts.vote("abc", "a")
        parts.compare(experiment, "other", "a", "b", unit="someone")
        await parts.vote("other", "a", "another")
        return await parts.votes(experiment)

    assert asyncio.run(scenario()) == {("a", "b"): (2, 1.0, 0), ("a", "c"): (1, 1.0, 0)}


def test_a_tie_is_half_a_vote_for_each_arm_that_was_compared(parts: Parts) -> None:
    async def scenario() -> tuple[Feedback, Mapping[tuple[str, str], tuple[int, float, int]]]:
        experiment = await parts.start("a", "b", "c")
        parts.compare(experiment, "two", "a", "b")
        parts.compare(experiment, "all", "a", "b", "c")
        feedback = await parts.vote("two", None)
        assert feedback.experiment == experiment
        await parts.vote("all", None)
        return feedback, await parts.votes(experiment)

    feedback, votes = asyncio.run(scenario())

    assert feedback.variant is None
    assert votes == {("a", "b"): (2, 1.0, 2), ("a", "c"): (1, 0.5, 1), ("b", "c"): (1, 0.5, 1)}


def test_a_report_costs_the_same_however_much_traffic_there_was(parts: Parts) -> None:
    async def cpu_seconds(responses: int) -> float:
        experiment = await parts.start()
        draw = random.Random(0)
        for start in range(0, responses, 5000):
            for number in range(start, min(start + 5000, responses)):
                parts.respond(experiment, f"{responses}/{number}", ARMS[number % 2], total_ms=draw.lognormvariate(3, 1))
            await parts.responses.flush()
        await parts.experiments.get(experiment)
        spent = []
        for _ in range(5):
            started = time.process_time()
            await parts.experiments.get(experiment)
            spent.append(time.process_time() - started)
        await parts.experiments.stop(experiment)
        # The least: other processes push ours out of the caches.
        return min(spent)

    async def scenario() -> tuple[float, float]:
        return await cpu_seconds(1000), await cpu_seconds(10_000)

    few, many = asyncio.run(scenario())

    # More buckets of latency are not empty.
    assert many < 3 * few


def test_a_stopped_experiment_is_deleted_with_all_that_it_has(parts: Parts) -> None:
    def rows(session: Session) -> Counter[str]:
        tables = Base.metadata.tables.values()
        return Counter({t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables})

    async def scenario() -> None:
        experiment = await parts.start()
        parts.respond(experiment, "one", "original", unit="someone")
        parts.compare(experiment, "two", unit="someone")
        await parts.rate("one", 1.0)
        await parts.vote("two", None)
        with pytest.raises(ExperimentRuns, match=experiment):
            await parts.experiments.delete(experiment)
        await parts.experiments.stop(experiment)
        # Answered before it stopped, and written after it was deleted.
        parts.respond(experiment, "late", "original")
        parts.responses.flush, flush = _nothing, parts.responses.flush  # type: ignore[method-assign]
        await parts.experiments.delete(experiment)
        assert parts.database.transact(rows).total() == 0
        parts.responses.flush = flush  # type: ignore[method-assign]
        assert (await parts.rate("late", 1.0)).experiment is None
        for missing in (parts.experiments.delete(experiment), parts.experiments.get(experiment)):
            with pytest.raises(UnknownExperiment):
                await missing
        with pytest.raises(UnknownResponse):
            await parts.rate("one", 1.0)

    asyncio.run(scenario())


async def _nothing() -> None:
    pass


def test_there_are_so_many_experiments_until_one_is_deleted(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "MAX_EXPERIMENTS", 2)

    async def scenario() -> None:
        first = await parts.start()
        await parts.start(task="summarization")
        await parts.experiments.stop(first)
        with pytest.raises(TooManyExperiments, match="DELETE"):
            await parts.start()
        await parts.experiments.delete(first)
        await parts.start()

    asyncio.run(scenario())


@pytest.mark.parametrize("unit", ["someone@example.org", "\N{ZERO WIDTH JOINER}", "\0", "\udc80", "e\u0301" * 2000])
def test_a_unit_has_one_arm_and_its_name_is_not_kept(unit: str) -> None:
    split = Split("one", [Arm(variant=name) for name in ARMS])

    first, second, nobody = split.assign(unit), split.assign(unit), split.assign("")

    assert first == second and first.unit is not None and unit not in first.unit
    assert len(first.unit) == 64
    assert nobody.unit is None


@pytest.mark.parametrize("weight", [5e-324, 1e6])
def test_extreme_weights_split_the_traffic(weight: float) -> None:
    split = Split("one", [Arm(variant="original", weight=weight), Arm(variant="compact", weight=1.0)])

    counts = Counter(split.assign(str(unit)).arm for unit in range(100))

    assert counts == {"original" if weight > 1 else "compact": 100}
