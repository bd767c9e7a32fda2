"""What an older version has written is counted as it was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.orm import Session

from slimseq.app.http.schemas.evaluation import SampleOutput
from slimseq.app.jobs.database import database as database_module
from slimseq.app.jobs.database.database import Database, database_url
from slimseq.app.jobs.database.tables import RatingRow, VoteRow
from slimseq.app.jobs.evaluations import evaluation_rows
from slimseq.app.jobs.experiments import experiment_rows
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ARMS = '[{"variant": "original", "weight": 1}, {"variant": "compact", "weight": 1}]'


@pytest.fixture
def old(url: str) -> Iterator[Connection]:
    """A connection to a database of the version before experiments counted."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        migrated(connection, "0003")
        yield connection
    engine.dispose()


def migrated(connection: Connection, revision: str) -> None:
    configuration = Config(attributes={"connection": connection})
    folder = Path(database_module.__file__).parent / "migrations"
    configuration.set_main_option("script_location", str(folder))
    is_newer = revision != "head" and _revision(connection) > revision
    (command.downgrade if is_newer else command.upgrade)(configuration, revision)


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def insert(connection: Connection, table: str, **row: Any) -> None:
    columns = ", ".join(f'"{name}"' for name in row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)


def fill(connection: Connection) -> None:
    """An experiment with 40 responses of two units and nobody, ratings of all, 10 votes, 3 errors; a rating outside."""
    insert(
        connection,
        "experiments",
        id="one",
        task="translation",
        name="one",
        arms=ARMS,
        margin=0.02,
        created_at=NOW,
        stopped_at=None,
    )
    fixed = {"task": "translation", "created_at": NOW}
    for number in range(40):
        arm = ("original", "compact")[number % 2]
        insert(
            connection,
            "responses",
            id=f"r{number:02}",
            variant=arm,
            experiment="one",
            arm=arm,
            unit="someone" if number >= 30 else None,
            total_ms=100.0,
            **fixed,
        )
        rated_at = NOW + timedelta(seconds=number)
        insert(connection, "ratings", response=f"r{number:02}", rating=number / 40, created_at=rated_at)
    for number in range(10):
        for arm in ("original", "compact"):
            of = {"comparison": f"c{number}", "experiment": "one", "arm": arm, "variant": arm}
            insert(connection, "responses", id=f"c{number}{arm}", total_ms=50.0, **of, **fixed)
        preferred = "original" if number < 3 else "compact"
        insert(connection, "votes", comparison=f"c{number}", preferred=preferred, created_at=NOW)
    for number in range(3):
        of = {"experiment": "one", "arm": "compact", "variant": "compact", "problem": "internal-error"}
        insert(connection, "responses", id=f"e{number}", **of, **fixed)
    insert(connection, "responses", id="outside", variant="compact", **fixed)
    insert(connection, "ratings", response="outside", rating=1.0, created_at=NOW)


def test_an_experiment_of_an_older_version_has_the_same_report(url: str, old: Connection) -> None:
    fill(old)
    expected = {arm: ConfidenceSequence() for arm in ("original", "compact")}
    for number in range(31):
        expected[("original", "compact")[number % 2]].update(number / 40)

    old.commit()
    database = Database(database_url(url))
    arms = database.transact(lambda session: experiment_rows.arm_records(session, "one"))
    pairs = database.transact(lambda session: experiment_rows.pair_records(session, "one"))

    for arm, sequence in expected.items():
        assert arms[arm].ratings.count == sequence.count
        assert arms[arm].ratings.interval() == pytest.approx(sequence.interval())
        assert list(arms[arm].latencies.values()) == [20]
    assert (arms["original"].errors, arms["compact"].errors) == (0, 3)
    votes = pairs["original", "compact"]
    assert (votes.win_rate.votes, votes.win_rate.wins, votes.ties) == (10, 3.0, 0)

    def judged(session: Session) -> tuple[RatingRow | None, VoteRow | None]:
        # The unit that was counted is not counted again.
        experiment_rows.count_rating(session, "one", "original", "someone", 1.0)
        return session.get(RatingRow, "r39"), session.get(VoteRow, "c0")

    rating, vote = database.transact(judged)
    again = database.transact(lambda session: experiment_rows.arm_records(session, "one"))
    assert again["original"].ratings.count == expected["original"].count
    assert rating is not None and (rating.experiment, rating.arm, rating.unit) == ("one", "compact", "someone")
    assert rating.created_at == NOW + timedelta(seconds=39)
    assert vote is not None and (vote.experiment, vote.preferred) == ("one", "original")
    database.close()


def test_outputs_of_an_older_version_have_no_warnings_and_go_on_being_shown(url: str, old: Connection) -> None:
    evaluation: dict[str, Any] = {
        **{"number": 1, "id": "e1", "kind": "quality", "task": "translation", "dataset": "pairs", "samples": 1},
        **dict.fromkeys(("variants", "digests", "references", "options"), "{}"),
        **{"are_samples_stored": True, "status": "succeeded", "progress": 1.0, "created_at": NOW},
        **{"interruptions": 0, "request_id": "r"},
    }
    output = {"text": b"Hallo.", "finish_reason": "eos", "input_tokens": 2, "output_tokens": 3, "truncated": False}
    insert(old, "evaluations", **evaluation)
    insert(old, "evaluation_outputs", evaluation=1, variant="compact", sample=0, seconds=0.1, score=9.5, **output)

    old.commit()
    database = Database(database_url(url))
    [found] = database.transact(
        lambda session: [SampleOutput.model_validate(row) for row in evaluation_rows.outputs_of(session, 1, 0, 1)]
    )

    assert found.text == "Hallo." and found.confidence is None and found.warnings is None
    database.close()


def test_the_migration_can_be_undone(old: Connection) -> None:
    fill(old)

    migrated(old, "head")
    migrated(old, "0003")

    assert old.scalar(text("SELECT count(*) FROM ratings")) == 41
    assert old.scalar(text("SELECT count(*) FROM votes WHERE preferred = 'compact'")) == 7
    assert not inspect(old).has_table("experiment_arms")
    migrated(old, "head")
    assert old.scalar(text("SELECT votes FROM experiment_pairs")) == 10
