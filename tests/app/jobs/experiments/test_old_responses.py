"""Responses go after some days, and the oldest of too many; what an experiment has counted stays."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from slimseq.app.errors import AlreadyJudged, UnknownResponse
from slimseq.app.jobs.database.database import Database
from slimseq.app.jobs.database.tables import RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiments import old_responses
from slimseq.app.jobs.experiments.old_responses import OldResponses
from tests.app.jobs.experiments.test_experiments import Parts


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def kept(database: Database, table: Any = ResponseRow.id) -> set[str]:
    return database.transact(lambda session: set(session.scalars(select(table))))


def test_the_report_of_an_experiment_is_the_same_after_its_responses_are_deleted(database: Database) -> None:
    async def scenario() -> None:
        parts = Parts(database)
        experiment = await parts.start()
        for number in range(20):
            times = {"created_at": ago(days=8 if number < 10 else 6), "total_ms": 10.0 + number}
            parts.respond(experiment, f"r{number}", ("original", "compact")[number % 2], **times)
            parts.respond(experiment, f"e{number}", "compact", problem="x", total_ms=None, created_at=ago(days=8))
        parts.compare(experiment, "both")
        await parts.rate("r0", 1.0)
        await parts.rate("r1", 0.0)
        await parts.vote("both", "compact")
        before = await parts.experiments.get(experiment)

        await OldResponses(database, days=7, responses=1000).delete()

        assert await parts.experiments.get(experiment) == before
        assert kept(database) == {"both original", "both compact", *(f"r{number}" for number in range(10, 20))}
        with pytest.raises(UnknownResponse, match="old"):
            await parts.rate("r2", 1.0)
        with pytest.raises(AlreadyJudged):
            await parts.rate("r0", 1.0)
        assert (await parts.rate("r10", 1.0)).experiment == experiment

    asyncio.run(scenario())


def test_of_too_many_responses_the_oldest_are_deleted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_responses, "ROWS", 3)

    async def scenario() -> None:
        parts = Parts(database)
        experiment = await parts.start()
        for number in range(20):
            parts.respond(experiment, f"r{number}", "original", created_at=ago(minutes=20 - number))
            outside = {"task": "translation", "variant": "original", "created_at": ago(minutes=20 - number)}
            parts.responses.add(id=f"o{number}", **outside)
        await parts.responses.flush()

        await OldResponses(database, days=7, responses=5).delete()

        assert kept(database) == {f"{kind}{number}" for kind in "ro" for number in range(15, 20)}
        assert (await parts.experiments.get(experiment)).arms[0].responses == 20

    asyncio.run(scenario())


def test_outside_of_experiments_everything_goes_after_a_day(database: Database) -> None:
    async def scenario() -> None:
        parts = Parts(database)
        for identifier, created_at in (("old", ago(days=2)), ("new", ago(hours=2))):
            fixed = {"task": "translation", "variant": "original", "created_at": created_at}
            parts.responses.add(id=identifier, **fixed)
            parts.responses.add(id=f"{identifier} compared", comparison=identifier, **fixed)
            await parts.rate(identifier, 1.0)
            await parts.vote(identifier, "original")
        days_ago = {"created_at": ago(days=2)}
        for table, key in ((RatingRow, RatingRow.response), (VoteRow, VoteRow.comparison)):
            database.transact(
                lambda session, table=table, key=key: (  # type: ignore[misc]
                    session.query(table).filter(key == "old").update(days_ago)
                )
            )

        await OldResponses(database, days=7, responses=1000).delete()

        assert kept(database) == {"new", "new compared"}
        assert kept(database, RatingRow.response) == kept(database, VoteRow.comparison) == {"new"}

    asyncio.run(scenario())
