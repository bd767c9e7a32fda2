import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from slimseq.app.errors import AlreadyJudged, InvalidRequest, UnknownExperiment, UnknownResponse
from slimseq.app.jobs.database.database import Database, database_url
from slimseq.app.jobs.database.tables import RatingRow, ResponseRow, VoteRow
from slimseq.app.jobs.experiments import Arm, ExperimentStore
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

ARMS = (Arm("original", 1.0), Arm("compact", 3.0))


def response(identifier: str, variant: str = "original", **fields: str) -> ResponseRow:
    return ResponseRow(
        id=identifier, task="translation", variant=variant, created_at=datetime.now(UTC), total_ms=12.5, **fields
    )


def test_experiments_are_created_listed_and_stopped_once(database: Database) -> None:
    async def scenario() -> None:
        store = ExperimentStore(database)
        first = await store.create(Task.TRANSLATION, "smaller", ARMS, 0.02)
        second = await store.create(Task.SUMMARIZATION, "größer 🐘", ARMS, 0.0)
        stopped = await store.stop(first.id)

        assert (first.arms, first.stopped_at) == (ARMS, None) and first.created_at.tzinfo is not None
        assert stopped.stopped_at is not None and await store.stop(first.id) == stopped
        assert await store.list() == [second, stopped] and await store.get(second.id) == second
        for unknown in (store.get, store.stop):
            with pytest.raises(UnknownExperiment):
                await unknown("nope")

    asyncio.run(scenario())


def test_a_response_is_rated_once_by_whoever_comes_first(database: Database, url: str) -> None:
    async def scenario() -> list[str]:
        stores = [ExperimentStore(each) for each in (database, other)]
        await stores[0].record([response("r"), response("s")])
        await stores[0].record([response("r", variant="compact")])

        async def rate(store: ExperimentStore, rating: float) -> str:
            try:
                await store.rate("r", rating)
            except SlimseqError as error:
                return type(error).__name__
            return "kept"

        return list(await asyncio.gather(*(rate(stores[number % 2], number / 10) for number in range(8))))

    other = Database(database_url(url))
    outcomes = asyncio.run(scenario())

    assert sorted(outcomes) == ["AlreadyJudged"] * 7 + ["kept"]
    kept = outcomes.index("kept") / 10
    assert database.transact(lambda session: session.scalars(select(RatingRow.rating)).all()) == [kept]
    assert database.transact(lambda session: session.get_one(ResponseRow, "r").variant) == "original"
    other.close()


def test_a_comparison_takes_one_vote_for_one_of_its_variants(database: Database) -> None:
    async def scenario() -> None:
        store = ExperimentStore(database)
        await store.record([response(f"r{name}", name, comparison="c") for name in ("original", "compact")])

        with pytest.raises(InvalidRequest, match="'quantized' is not one of compact, original"):
            await store.vote("c", "quantized")
        await store.vote("c", "compact")
        with pytest.raises(AlreadyJudged):
            await store.vote("c", "original")

    asyncio.run(scenario())

    assert database.transact(lambda session: session.scalars(select(VoteRow.preferred)).all()) == ["compact"]


def test_feedback_for_what_there_is_not_is_refused(database: Database) -> None:
    async def scenario() -> None:
        store = ExperimentStore(database)
        with pytest.raises(UnknownResponse):
            await store.rate("nope", 1.0)
        with pytest.raises(UnknownResponse):
            await store.vote("nope", "original")

    asyncio.run(scenario())
