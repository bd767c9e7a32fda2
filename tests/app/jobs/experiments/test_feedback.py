"""Feedback is counted once, whoever comes first, on both databases."""

import asyncio
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from slimseq.app.errors import AlreadyJudged, DatabaseUnavailable, UnknownResponse
from slimseq.app.http.schemas.experiment import Experiment, FeedbackRequest
from slimseq.app.jobs.database.database import TIMEOUT_SECONDS, Database, database_url
from slimseq.app.jobs.experiments.feedback import FeedbackService
from slimseq.app.jobs.experiments.responses import ROWS, ResponseLog
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.traffic import new_id
from tests.app.jobs.experiments.test_experiments import Parts


def add(responses: ResponseLog, identifier: str, **more: str) -> None:
    responses.add(id=identifier, task="translation", variant="quantized", **more)


def rating(response: str) -> FeedbackRequest:
    return FeedbackRequest(response=response, rating=1.0)


def test_of_several_judgements_at_once_one_counts(database: Database) -> None:
    async def scenario() -> list[str]:
        responses = ResponseLog(database)
        feedback = FeedbackService(database, responses, ServiceMetrics("test"))
        add(responses, "one")
        add(responses, "two", comparison="both")
        requests = [rating("one")] * 4 + [FeedbackRequest(comparison="both", preferred="quantized")] * 4
        found = await asyncio.gather(*map(feedback.post, requests), return_exceptions=True)
        return [type(each).__name__ for each in found]

    assert Counter(asyncio.run(scenario())) == {"Feedback": 2, "AlreadyJudged": 6}


def test_units_that_judge_at_once_in_several_processes_count_once_each(url: str) -> None:
    async def scenario() -> Experiment:
        processes = [Parts(Database(database_url(url))) for _ in range(3)]
        experiment = await processes[0].start()
        for number in range(12):
            processes[0].compare(experiment, f"c{number}")
            processes[0].respond(experiment, f"r{number}", "compact", unit=f"unit {number % 2}")
        await processes[0].responses.flush()
        judgements = [
            judge
            for number in range(12)
            for judge in (
                processes[number % 3].rate(f"r{number}", 1.0),
                processes[number % 3].vote(f"c{number}", "compact", f"unit {number % 2}"),
            )
        ]
        # All of them again, in the next process.
        again = [processes[(number + 1) % 3].rate(f"r{number}", 1.0) for number in range(12)]
        found = await asyncio.gather(*judgements, *again, return_exceptions=True)
        assert Counter(type(each).__name__ for each in found) == {"Feedback": 24, "AlreadyJudged": 12}
        report = await processes[0].experiments.get(experiment)
        for process in processes:
            process.database.close()
        return report

    report = asyncio.run(scenario())

    ratings, votes = report.arms[1].ratings, report.pairs[0].votes
    assert ratings is not None and ratings.count == 2
    assert votes is not None and (votes.votes, votes.wins) == (2, 0)


def test_many_responses_are_written_and_one_that_failed_cannot_be_rated(database: Database) -> None:
    async def scenario() -> None:
        responses = ResponseLog(database)
        feedback = FeedbackService(database, responses, ServiceMetrics("test"))
        for number in range(ROWS + 10):
            add(responses, str(number))
        add(responses, "failed", problem="internal-error")
        assert (await feedback.post(rating(str(ROWS + 9)))).variant == "quantized"
        with pytest.raises(UnknownResponse):
            await feedback.post(rating("failed"))
        with pytest.raises(AlreadyJudged):
            await feedback.post(rating(str(ROWS + 9)))

    asyncio.run(scenario())


def test_responses_wait_while_the_database_is_down_and_feedback_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("in the way")
    database = Database(database_url(f"sqlite:///{blocked / 'slimseq.db'}"))

    async def scenario() -> None:
        responses = ResponseLog(database)
        feedback = FeedbackService(database, responses, ServiceMetrics("test"))
        add(responses, "one")
        with pytest.raises(DatabaseUnavailable):
            await feedback.post(rating("one"))
        blocked.unlink()
        assert (await feedback.post(rating("one"))).task == "translation"

    asyncio.run(scenario())
    database.close()


def test_responses_of_an_experiment_that_the_database_has_lost_can_still_be_rated(database: Database) -> None:
    async def scenario() -> None:
        responses = ResponseLog(database)
        feedback = FeedbackService(database, responses, ServiceMetrics("test"))
        add(responses, "one", experiment="lost", arm="quantized")
        add(responses, "two")
        assert (await feedback.post(rating("one"))).experiment is None
        assert (await feedback.post(rating("two"))).experiment is None

    asyncio.run(scenario())


def test_feedback_finds_a_response_that_another_process_is_about_to_write(database: Database) -> None:
    async def scenario() -> None:
        others, own = ResponseLog(database), ResponseLog(database)
        others.start()
        identifier = new_id()
        add(others, identifier)
        try:
            assert (
                await FeedbackService(database, own, ServiceMetrics("test")).post(rating(identifier))
            ).variant == "quantized"
        finally:
            await others.close()

    asyncio.run(scenario())


def test_all_feedback_is_refused_in_time_while_the_database_is_locked(tmp_path: Path) -> None:
    database = Database(database_url(f"sqlite:///{tmp_path / 'locked.db'}"))
    database.transact(lambda session: None)
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def scenario() -> float:
        responses = ResponseLog(database)
        feedback = FeedbackService(database, responses, ServiceMetrics("test"))
        add(responses, "one")
        started = time.monotonic()
        found = await asyncio.gather(*(feedback.post(rating("one")) for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in found} == {DatabaseUnavailable}
        waited = time.monotonic() - started
        other.execute("ROLLBACK")
        assert (await feedback.post(rating("one"))).variant == "quantized"
        return waited

    assert asyncio.run(scenario()) < 2 * TIMEOUT_SECONDS
    database.close()
    other.close()


def test_while_the_database_is_locked_a_report_shows_what_was_written_before(tmp_path: Path) -> None:
    parts = Parts(Database(database_url(f"sqlite:///{tmp_path / 'locked.db'}")))
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)

    async def scenario() -> list[int]:
        experiment = await parts.start()
        parts.respond(experiment, "one", "original")
        await parts.responses.flush()
        parts.respond(experiment, "two", "original")
        other.execute("BEGIN IMMEDIATE")
        locked = await parts.experiments.get(experiment)
        other.execute("ROLLBACK")
        released = await parts.experiments.get(experiment)
        return [report.arms[0].responses for report in (locked, released)]

    assert asyncio.run(scenario()) == [1, 2]
    parts.database.close()
    other.close()
