"""Transactions on SQLite and PostgreSQL: migrations, deadlines, failures of the database, and what its log shows."""

import asyncio
import gc
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr, ValidationError
from sqlalchemy import event, func, inspect, select, text
from sqlalchemy.orm import Session

from slimseq.app.database.database import Database, database_url, default_url
from slimseq.app.database.tables import Table
from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.evaluations.rows import EvaluationRow
from slimseq.app.experiments.rows import ExperimentRow, RatingRow, VoteRow
from slimseq.app.settings import Settings
from tests.postgresql import PostgreSQL

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
# A process that adds twenty votes.
ADD_VOTES = """
import sys
from datetime import datetime
from slimseq.app.database.database import Database, database_url
from slimseq.app.experiments.rows import VoteRow
database = Database(database_url(sys.argv[1]))
for number in range(20):
    comparison = f"{sys.argv[2]}-{number}"
    vote = VoteRow(comparison=comparison, compared=[], created_at=datetime.now())
    database.transact(lambda session: session.add(vote))
"""


def vote(comparison: str = "one") -> VoteRow:
    return VoteRow(comparison=comparison, compared=[], preferred="quantized", created_at=NOW)


def votes(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(VoteRow)) or 0


def migration_context(session: Session) -> MigrationContext:
    return MigrationContext.configure(session.connection(), opts={"compare_type": True})


def differences_of_tables(session: Session) -> list[object]:
    """Returns how the tables of the database differ from the tables of the code."""
    return list(compare_metadata(migration_context(session), Table.metadata))


def test_an_empty_database_gets_the_tables_and_the_version_of_the_code(database: Database) -> None:
    differences = database.transact(differences_of_tables)
    version = database.transact(lambda session: migration_context(session).get_current_revision())

    assert {EvaluationRow.__tablename__, RatingRow.__tablename__} < set(Table.metadata.tables)
    assert differences == []
    assert version == "0004"


# Makes the tables of today those of the first version, before experiments had a pair of languages.
BEFORE_PAIRS = (
    "DROP INDEX ix_experiments_running",
    "ALTER TABLE experiments DROP COLUMN pair",
    "ALTER TABLE evaluations DROP COLUMN languages",
    "ALTER TABLE evaluations DROP COLUMN key_id",
    "ALTER TABLE evaluations DROP COLUMN network",
    "ALTER TABLE evaluations DROP COLUMN interruptions",
    "CREATE UNIQUE INDEX ix_experiments_running ON experiments (task) WHERE stopped_at IS NULL",
    "UPDATE alembic_version SET version_num = '0001'",
)


def test_a_database_of_before_pairs_of_languages_is_migrated_with_what_it_has(url: str, database: Database) -> None:
    def go_back_and_add_an_experiment(session: Session) -> None:
        for statement in BEFORE_PAIRS:
            session.execute(text(statement))
        values = {
            "id": "e1",
            "task": "translation",
            "name": "one",
            "margin": 0.02,
            "when_decided": "tell",
            "drop_losing": False,
            "created_at": NOW,
            "arms": '[{"variant": "a", "weight": 1}, {"variant": "b", "weight": 1}]',
            "dropped": "[]",
        }
        names = ", ".join(values)
        placeholders = ", ".join(f":{name}" for name in values)
        session.execute(text(f"INSERT INTO experiments ({names}) VALUES ({placeholders})"), values)

    database.transact(go_back_and_add_an_experiment)
    newer = Database(database_url(url))
    differences = newer.transact(differences_of_tables)
    kept = newer.transact(lambda session: session.scalars(select(ExperimentRow)).one())
    newer.close()

    assert differences == []
    assert kept.id == "e1"
    assert kept.languages is None
    assert [arm["variant"] for arm in kept.arms] == ["a", "b"]


def test_a_database_of_before_gets_the_senders_of_evaluations_and_their_interruptions(url: str) -> None:
    def go_back(session: Session) -> None:
        for column in ("key_id", "network", "interruptions"):
            session.execute(text(f"ALTER TABLE evaluations DROP COLUMN {column}"))
        session.execute(text("UPDATE alembic_version SET version_num = '0002'"))

    before = Database(database_url(url))
    before.transact(go_back)
    before.close()

    database = Database(database_url(url))
    columns = database.transact(
        lambda session: {each["name"] for each in inspect(session.connection()).get_columns("evaluations")}
    )
    database.close()

    assert {"key_id", "network", "interruptions"} <= columns


def test_processes_that_start_at_once_on_an_empty_database_all_work(url: str, database: Database) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", ADD_VOTES, url, str(number)]) for number in range(3)]

    exit_codes = [process.wait(timeout=120) for process in processes]

    assert exit_codes == [0, 0, 0]
    assert database.transact(votes) == 3 * 20


def test_a_transaction_that_fails_changes_nothing(database: Database) -> None:
    def add_and_fail(session: Session) -> None:
        session.add(vote())
        session.flush()
        raise KeyError

    with pytest.raises(KeyError):
        database.transact(add_and_fail)

    assert database.transact(votes) == 0


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds later", "fails later"])
def test_a_slow_transaction_is_given_up_in_time_and_changes_nothing(
    url: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(database_url(url), timeout_seconds=0.2)
    database.transact(votes)

    def slow(session: Session) -> None:
        session.add(vote())
        time.sleep(1)
        if fails:
            raise OSError("it failed after all")

    async def seconds_until_given_up() -> float:
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await database.run(slow)
        waited = time.monotonic() - started
        # The transaction ends meanwhile. If nobody had read its error, its collection would log that.
        await asyncio.sleep(1)
        gc.collect()
        return waited

    # Longer than the timeout of 0.2 s, and shorter than the transaction of 1 s.
    assert asyncio.run(seconds_until_given_up()) < 0.9
    assert "never retrieved" not in caplog.text
    assert database.transact(votes) == 0
    database.close()


@pytest.mark.anyio
@pytest.mark.parametrize("is_cancelled", [False, True], ids=["too slow", "cancelled"])
async def test_a_transaction_that_is_being_committed_is_not_called_failed(
    url: str, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    database = Database(database_url(url), timeout_seconds=0.3)
    database.transact(votes)

    # A commit lasts longer than the timeout.
    @event.listens_for(database._engine, "commit")
    def commit_slowly(connection: object) -> None:
        time.sleep(0.6)

    run = asyncio.create_task(database.run(lambda session: session.add(vote())))
    if is_cancelled:
        # During the commit.
        await asyncio.sleep(0.2)
        run.cancel()
        # Longer than the rest of the commit.
        await asyncio.sleep(0.8)
        assert run.cancelled()
    else:
        await run

    assert database.transact(votes) == 1
    database.close()


def test_a_file_that_another_program_locks_is_unavailable_until_it_is_released(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path).set(database=str(tmp_path / "locked.db")))
    database.transact(votes)
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseUnavailable):
        database.transact(lambda session: session.add(vote()))
    votes_while_locked = database.transact(votes, writes=False)
    other.execute("ROLLBACK")
    database.transact(lambda session: session.add(vote()))

    assert votes_while_locked == 0
    assert database.transact(votes) == 1
    database.close()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Do not overwrite me. " * 100)

    with pytest.raises(DatabaseUnavailable):
        Database(database_url(f"sqlite:///{path}")).transact(votes)

    assert path.read_text() == "Do not overwrite me. " * 100


def test_a_database_of_a_newer_version_is_left_as_it_is(database: Database, url: str) -> None:
    database.transact(
        lambda session: session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    older = Database(database_url(url))

    with pytest.raises(DatabaseUnavailable):
        older.transact(votes)
    older.close()


def test_only_its_user_may_read_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = default_url(tmp_path / "artifacts")
    database = Database(url)
    database.transact(votes)

    folder = Path(url.database or "").parent
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    database.close()


def test_each_store_has_its_own_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    url = default_url(tmp_path / "artifacts")

    path = Path(url.database or "")
    assert path.parent == tmp_path / "state" / "slimseq"
    assert path.name.startswith("artifacts-")
    assert default_url(tmp_path / "others").database != url.database


@pytest.mark.parametrize(
    "value",
    [
        "secret",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://user:secret@host/name",
        "postgres://secret@host/x",
        "postgresql://user:secret@host:port/name",
        "postgresql://user:se@cret@host/name",  # pragma: allowlist secret
    ],
)
def test_other_urls_are_refused_by_the_settings_without_their_password(value: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(database_url=SecretStr(value))

    [error] = raised.value.errors()
    assert "must be sqlite:///FILE or postgresql://" in error["msg"]
    assert "secret" not in error["msg"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("sqlite:///state.db", "state.db"),
        ("postgresql:///state", "state"),
        ("postgresql://user:a%40b@host:5432/state", "state"),  # pragma: allowlist secret
    ],
)
def test_urls_of_sqlite_files_and_of_postgresql_are_accepted(value: str, name: str) -> None:
    given = Settings(database_url=SecretStr(value)).database_url

    assert given is not None
    assert database_url(given.get_secret_value()).database == name


def test_a_database_file_that_is_deleted_while_the_service_runs_is_created_again(tmp_path: Path) -> None:
    database = Database(database_url(f"sqlite:///{tmp_path / 'gone.db'}"))
    database.transact(lambda session: session.add(vote()))
    (tmp_path / "gone.db").unlink()

    database.transact(lambda session: session.add(vote()))

    other = Database(database_url(f"sqlite:///{tmp_path / 'gone.db'}"))
    assert other.transact(votes) == 1
    for each in (database, other):
        each.close()


def test_errors_of_the_database_do_not_log_texts_of_users(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    def fail(session: Session) -> None:
        session.execute(text("INSERT INTO nowhere VALUES (:text)"), {"text": "a secret text"})

    with pytest.raises(DatabaseUnavailable) as raised:
        database.transact(fail)

    [record] = [each for each in caplog.records if "not available" in each.message]
    reason: str = record.reason  # type: ignore[attr-defined]
    assert "nowhere" in reason
    assert "secret" not in reason
    assert "secret" not in str(raised.value.__cause__)


def test_a_database_that_fails_every_other_time_does_not_fill_the_log(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Session) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    caplog.set_level("INFO", "slimseq")
    database = Database(database_url(sqlite_url))
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            database.transact(fail)
        database.transact(votes)
    database.close()

    lines = [each.message for each in caplog.records if each.name.startswith("slimseq")]
    assert lines == ["the database is not available", "the database is available again"]


# Adds some evaluations, fills the disk with another file, adds as many evaluations as SQLite's log has space for, and
# deletes all evaluations. At last, with space again, it prints the size of the file that keeps space for deletions.
FILL_DISK_AND_DELETE = """
import asyncio, os, sys
from datetime import UTC, datetime
from slimseq.app import services
from slimseq.app.database import database as databases
from slimseq.app.errors import DatabaseUnavailable
from slimseq.app.evaluations import rows
databases.RESERVED_BYTES = 8 * 2**20
os.chdir(sys.argv[1])
database = databases.Database(databases.database_url("sqlite:///full.db"))
most = {"max_queued": 1000, "max_queued_by_one": 1000, "max_kept": 1000}
pairs = [{"number": number, "source": "x" * 400, "target": "y" * 400} for number in range(200)]
def post(identifier):
    fixed = dict(task="translation", variants=[], digests={}, references={}, dataset="pairs", are_samples_stored=True)
    row = rows.EvaluationRow(id=identifier, samples=200, status="succeeded", progress=1.0, request_id="",
        created_at=datetime.now(UTC), **fixed)
    database.transact(lambda session: rows.submit(session, row, pairs, **most))
def is_full(identifier):
    try:
        post(identifier)
    except DatabaseUnavailable:
        return True
count = int(sys.argv[2])
for number in range(count):
    post(str(number))
filler = os.open("filler", os.O_CREAT | os.O_WRONLY)
try:
    while os.write(filler, bytes(4096)):
        pass
except OSError:
    while not is_full(str(count)):
        count += 1
for number in range(count):
    asyncio.run(database.delete(lambda session: rows.cancel_or_delete(session, str(number), None)))
os.close(filler)
os.unlink("filler")
post("another")
asyncio.run(database.delete(lambda session: rows.cancel_or_delete(session, "another", None)))
print(os.path.getsize("full.db-reserve"))
"""


@pytest.mark.parametrize("evaluations", [1, 50])
def test_evaluations_are_deleted_while_the_disk_is_full(tmp_path: Path, evaluations: int) -> None:
    # A disk of 60 MB, which only this command sees.
    mount = 'mount -t tmpfs -o size=60m tmpfs "$0" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path)]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces that may mount")

    run = [*command, sys.executable, "-c", FILL_DISK_AND_DELETE, str(tmp_path), str(evaluations)]
    done = subprocess.run(run, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    # The size of the file that keeps space, `RESERVED_BYTES` of the script.
    assert int(done.stdout) == 8 * 2**20


def test_names_with_a_null_character_are_stored_and_found_without_it(database: Database) -> None:
    database.transact(lambda session: session.add(vote("a\0b")))

    stored = database.transact(lambda session: session.scalar(select(VoteRow.comparison)))
    by_null = select(VoteRow).where(VoteRow.comparison == "\0")
    found = database.transact(lambda session: session.scalar(by_null))

    assert stored == "a\N{REPLACEMENT CHARACTER}b"
    assert found is None


def test_times_are_in_utc_whatever_the_time_zone_of_the_server(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database("tokyo") + "?options=-ctimezone%3DAsia/Tokyo"
    database = Database(database_url(url))
    database.transact(lambda session: session.add(vote()))

    stored = database.transact(lambda session: session.scalar(select(VoteRow.created_at)))

    assert stored is not None
    assert stored.isoformat() == NOW.isoformat()
    database.close()
