"""Runs transactions on the database, SQLite or PostgreSQL, in threads and with a bounded time.

A service starts and serves without its database. The first transaction that reaches the database creates or migrates
its tables. A transaction that fails because of the database itself raises `DatabaseUnavailable`; the next one tries
again.

`slimseq.app.database.tables` has the base of the tables. Each feature has its tables and queries in its `rows` module.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy import exc as database_errors
from sqlalchemy.orm import Session

from slimseq.app.database.tables import Table
from slimseq.app.errors import DatabaseUnavailable

# Maximum duration of a transaction, with the time that it waits for a connection, a lock and a thread.
TIMEOUT_SECONDS = 5.0
# Maximum wait for a connection or a lock. It is below `TIMEOUT_SECONDS`, so that the log says what was waited for.
LOCK_SECONDS = 3
# Transactions at once.
THREADS = 4
# Pause while another process holds the lock that WAL mode needs.
RETRY_SECONDS = 0.05
# Minimum time between two failures in the log. On a full disk some transactions succeed between those that fail.
LOG_SECONDS = 60.0
# Size of a second file beside SQLite's, which keeps space on the disk. It is removed when the disk is full, so that
# deletions work: SQLite first writes to its log what it deletes. The log has up to 4 MiB of several transactions, or
# 8 MiB after the deletion of an evaluation with 1,000 articles as texts.
RESERVED_BYTES = 16 * 1024**2
# The second file is made only if the disk has space for this many such files, so that it does not fill a small disk.
MIN_FREE_RESERVES = 4
# Identifies the migration among the advisory locks of a PostgreSQL database. The number itself means nothing.
MIGRATION_LOCK = 0x51153E9

# The errors of a database that cannot be used. SQLite raises `sqlite3.Error` where SQLAlchemy does not run a statement.
UNAVAILABLE = (database_errors.DBAPIError, database_errors.TimeoutError, sqlite3.Error, OSError, CommandError)

Result = TypeVar("Result")
Work = Callable[[Session], Result]

logger = logging.getLogger(__name__)


class Database:
    """The connections to one database. `transact` may be called on any thread, `run` on the event loop.

    `timeout_seconds` is the maximum duration of a transaction that the event loop waits for.
    """

    def __init__(self, url: URL, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self._timeout_seconds = timeout_seconds
        # SQLite's file, and the file that keeps space on the disk for it (`RESERVED_BYTES`). None for PostgreSQL.
        self._path: Path | None = None
        self._reserve: Path | None = None
        if url.get_backend_name() == "sqlite":
            self._path = Path(url.database or "")
            self._reserve = self._path.with_name(f"{self._path.name}-reserve")
            self._engine = _sqlite_engine(url)
        else:
            self._engine = _postgresql_engine(url)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._migration = threading.Lock()
        self._is_migrated = False
        # Device and inode of the file that was migrated, see `_file_now`.
        self._migrated_file: tuple[int, int] | None = None
        # Whether a failure was logged since the last transaction that succeeded. The next success is logged then.
        self._is_failure_logged = False
        self._logged_at = -LOG_SECONDS

    async def delete(self, work: Work[Result]) -> Result:
        """Runs a transaction that deletes as `run` does, also while the disk is full."""
        try:
            result = await self.run(work)
        except DatabaseUnavailable as error:
            # SQLite says "database or disk is full".
            if self._reserve is None or "full" not in str(error.__cause__):
                raise
            self._reserve.unlink(missing_ok=True)
            result = await self.run(work)
        self._reserve_space()
        return result

    async def run(self, work: Work[Result], *, writes: bool = True) -> Result:
        """Runs a transaction in a thread. On SQLite, those that write run one at a time.

        Raises:
            DatabaseUnavailable: the database failed, or took too long. Nothing was changed then.
        """
        # The transaction acquires this lock before it commits, and this caller when it gives up. Nobody releases the
        # lock. If the transaction comes first, it is committed. If the caller comes first, the transaction is rolled
        # back.
        commit_or_give_up = threading.Lock()
        future = self._threads.submit(self.transact, work, writes=writes, commit_or_give_up=commit_or_give_up)
        result = asyncio.wrap_future(future)
        # Reads the error of a transaction that is given up. Else asyncio would log an error that was never retrieved.
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait([result], timeout=self._timeout_seconds)
        finally:
            # In `finally`, because a caller that is cancelled while it waits gives up too.
            is_given_up = not result.done() and commit_or_give_up.acquire(blocking=False)
            if is_given_up:
                future.cancel()
        if is_given_up:
            raise self._unavailable(f"no answer within {self._timeout_seconds:g} s")
        # The transaction has ended, or is being committed, which takes little time.
        return await result

    def transact(
        self, work: Work[Result], *, writes: bool = True, commit_or_give_up: "threading.Lock | None" = None
    ) -> Result:
        """Runs a transaction in this thread. Arguments and errors are those of `run`.

        `commit_or_give_up` is the lock by which `run` can give up the transaction. Without it, nobody can.
        """
        try:
            self._migrate_once()
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                session.connection(execution_options={"writes": writes})
                result = work(session)
                is_given_up = commit_or_give_up is not None and not commit_or_give_up.acquire(blocking=False)
                if is_given_up:
                    # This ends the transaction, so the end of `session.begin()` has nothing to commit.
                    session.rollback()
        except (database_errors.IntegrityError, database_errors.DataError):
            # They say something about the values, and nothing about the database.
            raise
        except UNAVAILABLE as error:
            raise self._unavailable(str(error)) from error
        if self._is_failure_logged:
            self._is_failure_logged = False
            logger.info("the database is available again")
        return result

    def close(self) -> None:
        """Closes all connections. Transactions that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _unavailable(self, reason: str) -> DatabaseUnavailable:
        """Returns the error to raise. The first one, and at most one in `LOG_SECONDS`, is logged with its reason."""
        if not self._is_failure_logged and time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._is_failure_logged = True
            self._logged_at = time.monotonic()
            shown = self._path.name if self._path else self.url.render_as_string(hide_password=True)
            logger.warning("the database is not available", extra={"database": shown, "reason": reason})
        return DatabaseUnavailable()

    def _migrate_once(self) -> None:
        """Migrates the database, unless this was done and SQLite's file is still the same."""
        if self._is_migrated and self._migrated_file == self._file_now():
            return
        with self._migration:
            if self._is_migrated and self._migrated_file != self._file_now():
                # Somebody deleted or replaced the file. What open connections write to the old one is lost.
                logger.warning("the file of the database was replaced")
                self._engine.dispose()
                self._is_migrated = False
            # Another thread may have migrated while this one waited for the lock.
            if not self._is_migrated:
                self._create_and_migrate()

    def _create_and_migrate(self) -> None:
        if self._path:
            # The file holds users' texts: nobody else may read it.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            _turn_on_wal(self._engine)
        with self._engine.begin() as connection:
            _migrate(connection)
        self._migrated_file = self._file_now()
        self._is_migrated = True
        self._reserve_space()

    def _reserve_space(self) -> None:
        """Makes the file that keeps space on the disk, if there is none and the disk has enough space."""
        # Without this file, only deletions on a full disk fail. macOS has no `posix_fallocate` (`AttributeError`).
        with contextlib.suppress(OSError, AttributeError):
            if self._reserve is None:
                return
            free_bytes = shutil.disk_usage(self._reserve.parent).free
            if free_bytes > MIN_FREE_RESERVES * RESERVED_BYTES:
                with open(self._reserve, "ab", opener=functools.partial(os.open, mode=0o600)) as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)

    def _file_now(self) -> tuple[int, int] | None:
        """Returns the device and the inode of SQLite's file, None if there is none."""
        if self._path is None or not self._path.exists():
            return None
        found = self._path.stat()
        return found.st_dev, found.st_ino


def default_url(store: Path) -> URL:
    """Returns the URL of the SQLite file of a store, in the user's folder of state (XDG base directories).

    It is not beside the artifacts, which may be installed, shared or read-only. Every store has its own file, so that
    no service runs an evaluation of another store.
    """
    state_folder = Path(os.environ.get("XDG_STATE_HOME") or _home() / ".local" / "state")
    store_path = store.resolve()
    # The hash distinguishes stores whose folders have the same name.
    name = f"{store_path.name}-{hashlib.sha256(os.fsencode(store_path)).hexdigest()[:8]}.db"
    return URL.create("sqlite", database=str(state_folder / "slimseq" / name))


def database_url(setting: str) -> URL:
    """Returns the URL of the setting `SLIMSEQ_DATABASE_URL`, with the driver that is installed for PostgreSQL."""
    url = make_url(setting)
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A user of a container may have no home. The database is then unavailable, and the service serves without it.
        return Path("/nonexistent")


# Both engines have `hide_parameters`: their errors are logged, and texts of users are parameters.
def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": LOCK_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        # Python would begin a transaction with the first statement that writes. This turns it off: `begin` does it.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        # Deleted texts are overwritten.
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", True)
        # IMMEDIATE takes the lock for writing at once. Without it, a transaction that reads first and writes later
        # would fail if another one wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _turn_on_wal(engine: Engine) -> None:
    """Lets readers and a writer run at the same time, from now on (https://sqlite.org/wal.html).

    Another process may do the same at this time. SQLite does not wait for it by itself, hence the loop.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with contextlib.closing(engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)


def _postgresql_engine(url: URL) -> Engine:
    # The limits are set in each transaction (`begin`), and not as options of the connection: a connection pooler such
    # as PgBouncer may refuse these.
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=THREADS,
        # Tests a connection before it is used. One that was dropped, as by a restart of the database, is opened again.
        pool_pre_ping=True,
        pool_timeout=LOCK_SECONDS,
        connect_args={"connect_timeout": LOCK_SECONDS, "tcp_user_timeout": LOCK_SECONDS * 1000},
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement_ms = LOCK_SECONDS * 1000
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {statement_ms}")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {2 * statement_ms}")

    return engine


def _migrate(connection: Connection) -> None:
    """Brings the schema up to date. A second process waits for the first one, and then has nothing to do.

    An empty database gets the tables of the code, as Alembic's cookbook says ("building an up to date database from
    scratch"). `slimseq.app.services` imports all features, whose `rows` declare them.
    """
    if connection.dialect.name == "postgresql":
        # The limit of other transactions would end the migration of a large table again and again.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    configuration = Config(attributes={"connection": connection})
    # A `%` begins a reference in Alembic's configuration.
    migrations = str(Path(__file__).parent / "migrations").replace("%", "%%")
    configuration.set_main_option("script_location", migrations)
    if inspect(connection).has_table("alembic_version"):
        command.upgrade(configuration, "head")
    else:
        Table.metadata.create_all(connection)
        command.stamp(configuration, "head")
