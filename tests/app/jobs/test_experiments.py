"""Reports of experiments: what counts, on both databases, and what a large one costs."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import insert

from slimseq.app.http.schemas.experiment import Arm
from slimseq.app.jobs import experiment_rows, experiments
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import Base, ExperimentRow, RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiments import ExperimentService
from slimseq.app.jobs.responses import ResponseLog
from slimseq.app.jobs.traffic import Split
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARMS = ("original", "compact")


def store(database: Database, *tables: tuple[type[Base], Sequence[dict[str, Any]]]) -> None:
    experiment = {"id": "one", "task": "translation", "name": "one", "margin": 0.02, "created_at": NOW}

    def add(session: Any) -> None:
        session.execute(insert(ExperimentRow), [{**experiment, "arms": [{"variant": name} for name in ARMS]}])
        for table, rows in tables:
            session.execute(insert(table), rows)

    database.transact(add)


def response(number: int, arm: str, **more: Any) -> dict[str, Any]:
    fixed = {"task": "translation", "variant": arm, "experiment": "one", "arm": arm, "created_at": NOW}
    return {"id": str(number), **fixed, "total_ms": float(number), **more}


def rating(number: int, value: float) -> dict[str, Any]:
    # Later ones have smaller ids.
    return {"response": str(number), "rating": value, "created_at": NOW + timedelta(seconds=1000 - number)}


def service_of(database: Database) -> ExperimentService:
    return ExperimentService(database, cast(Any, None), cast(Any, None), ResponseLog(database))


def test_the_database_sums_ratings_as_the_confidence_sequence_does(database: Database) -> None:
    draw = random.Random(0)
    values = [(number, ARMS[number % 2], draw.random()) for number in range(300)]
    rows = [response(number, arm) for number, arm, _ in values]
    store(database, (ResponseRow, rows), (RatingRow, [rating(number, value) for number, _, value in values]))

    found = database.transact(lambda session: experiment_rows.ratings(session, "one"))

    for arm in ARMS:
        expected = ConfidenceSequence()
        for _, of, value in reversed(values):
            if of == arm:
                expected.update(value)
        assert found[arm].count == expected.count == 150
        assert found[arm].total == pytest.approx(expected.total)
        assert found[arm].variation == pytest.approx(expected.variation)


def test_a_unit_that_rates_many_responses_counts_once(database: Database) -> None:
    # Two people, one in each arm: one likes everything, the other nothing. That says nothing about the arms.
    rows = [response(number, ARMS[number % 2], unit=f"unit {number % 2}") for number in range(400)]
    store(database, (ResponseRow, rows), (RatingRow, [rating(number, float(number % 2)) for number in range(400)]))

    report = asyncio.run(service_of(database).get("one"))

    assert [arm.ratings and arm.ratings.count for arm in report.arms] == [1, 1]
    assert report.conclusion.verdict == "undecided"


def test_votes_count_for_the_pairs_that_were_compared(database: Database) -> None:
    rows = [response(number, ARMS[number % 2], comparison=str(number // 2)) for number in range(20)]
    # Compared alone with a variant that is no arm.
    rows += [response(20, "original", comparison="10"), response(21, "pruned", comparison="10", experiment=None)]
    votes = [
        {"comparison": str(number), "preferred": "compact" if number < 7 else "original", "created_at": NOW}
        for number in range(11)
    ]
    store(database, (ResponseRow, rows), (VoteRow, votes))

    report = asyncio.run(service_of(database).get("one"))

    assert report.pairs[0].votes is not None
    assert (report.pairs[0].votes.wins, report.pairs[0].votes.votes) == (3, 10)
    assert [arm.responses for arm in report.arms] == [0, 0]


def test_clients_share_the_report_of_a_large_experiment(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "LARGE", 10)
    monkeypatch.setattr(experiments, "KEPT_SECONDS", 0.2)
    store(database, (ResponseRow, [response(number, ARMS[number % 2]) for number in range(20)]))
    service = service_of(database)
    reads = []
    read = database.run

    async def counted(*arguments: Any, **options: Any) -> Any:
        reads.append(1)
        return await read(*arguments, **options)

    monkeypatch.setattr(database, "run", counted)

    async def scenario() -> tuple[int, int]:
        await service.get("one")
        await asyncio.gather(*(service.get("one") for _ in range(50)))
        shared = len(reads)
        await asyncio.sleep(0.3)
        await asyncio.gather(*(service.get("one") for _ in range(50)))
        return shared, len(reads)

    assert asyncio.run(scenario()) == (1, 2)


def test_a_unit_has_one_arm_and_its_name_is_not_kept() -> None:
    split = Split("one", [Arm(variant=name) for name in ARMS])

    first, second, nobody = split.assign("someone@example.org"), split.assign("someone@example.org"), split.assign("")

    assert first == second and first.unit is not None and "someone" not in first.unit
    assert len(first.unit) == 64
    assert nobody.unit is None
