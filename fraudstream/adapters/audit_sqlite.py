"""The audit trail in a local SQLite file, for one machine; the same rows, chain and semantics as in PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from fraudstream.adapters.audit_chain import Extension, Head, extend
from fraudstream.adapters.audit_check import Advance, Report, verify_snapshot
from fraudstream.adapters.audit_dropped import DroppedRun, RunBuilder, without_dropped
from fraudstream.adapters.audit_rows import (
    COLUMNS,
    EvidenceRow,
    LinkedRow,
    evidence_of,
    linked_row,
    microseconds,
    moment_of,
)
from fraudstream.adapters.audit_store import Appended, Retained, refuse_broken, refuse_unexplained
from fraudstream.errors import AuditError, AuditUnavailable
from fraudstream.evidence import Evidence

REVISION = 1
BUSY_TIMEOUT_S = 10.0
READ_ROWS = 1_000
LOOKUP_ROWS = 1_000
TIME_AT = COLUMNS.index("event_time")

_SCHEMA = """
CREATE TABLE evidence (
    source_partition INTEGER NOT NULL,
    source_offset INTEGER NOT NULL,
    transaction_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    event_time INTEGER NOT NULL, -- microseconds since 1970, UTC
    anomaly_score REAL NOT NULL,
    anomaly_type TEXT NOT NULL,
    flagged INTEGER NOT NULL,
    threshold REAL NOT NULL,
    model_version TEXT NOT NULL,
    reasons TEXT NOT NULL,
    verdict_json BLOB NOT NULL,
    transaction_json BLOB NOT NULL,
    features BLOB NOT NULL,
    previous_hash BLOB NOT NULL,
    row_hash BLOB NOT NULL,
    PRIMARY KEY (source_partition, source_offset),
    UNIQUE (transaction_id, user_id)
) STRICT;
CREATE INDEX evidence_of_user ON evidence (user_id, event_time);
CREATE INDEX evidence_by_time ON evidence (event_time);
CREATE TABLE heads (
    source_partition INTEGER PRIMARY KEY,
    rows INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    head_hash BLOB NOT NULL
) STRICT;
CREATE TABLE dropped (
    source_partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    previous_hash BLOB NOT NULL,
    last_hash BLOB NOT NULL,
    run_hash BLOB NOT NULL,
    PRIMARY KEY (source_partition, first_offset)
) STRICT;
"""

_ALL = f"SELECT {', '.join(COLUMNS)} FROM evidence "
_INSERT = f"INSERT INTO evidence ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"
_INSERT_RUN = "INSERT INTO dropped VALUES (?, ?, ?, ?, ?, ?, ?)"
_SET_HEAD = (
    "INSERT INTO heads VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET rows = excluded.rows, "
    "last_offset = excluded.last_offset, head_hash = excluded.head_hash"
)

Result = TypeVar("Result")


class SqliteStore:
    """The file at `path`, made by `check`, `migrate` and `append` where it is not there; its parent directory too.

    Raises:
        AuditError: from each method, where the file is none of ours, cannot be used, or is not there to be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Closes the file."""
        async with self._lock:
            if self._connection is not None:
                await asyncio.to_thread(self._connection.close)
                self._connection = None

    async def check(self) -> None:
        """Opens the file, and makes it where it is not there."""
        await self._run(lambda _connection: None, make=True)

    async def migrate(self) -> str:
        """Makes the file; returns the revision of its tables."""
        await self.check()
        return str(REVISION)

    async def append(self, rows: Sequence[EvidenceRow]) -> Appended:
        """See AuditStore."""
        return await self._run(lambda connection: _append(connection, rows), make=True)

    async def heads(self) -> list[Head]:
        """See AuditStore."""
        return await self._run(_heads)

    async def find(self, transaction_id: str) -> Evidence | None:
        """See EvidenceStore; where several users have it, the newest."""
        found = await self.search(transaction_id=transaction_id, limit=1)
        return found[0] if found else None

    async def of_user(self, user_id: str, until: datetime | None = None) -> AsyncIterator[Evidence]:
        """See EvidenceStore."""
        until_us = microseconds(until) if until is not None else None
        after = (-1, -1)
        while True:
            found = await self._select(
                "WHERE user_id = ? AND (? IS NULL OR event_time <= ?) AND (source_partition, source_offset) > (?, ?) "
                "ORDER BY source_partition, source_offset LIMIT ?",
                (user_id, until_us, until_us, *after, READ_ROWS),
            )
            for one in found:
                yield one
            if len(found) < READ_ROWS:
                return
            after = (found[-1].partition, found[-1].offset)

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        """See AuditStore."""
        wanted = {"transaction_id": transaction_id, "user_id": user_id}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given)
        return await self._select(
            f"{'WHERE ' + where if where else ''} ORDER BY event_time DESC, source_offset DESC LIMIT ?",
            (*given.values(), limit),
        )

    async def verify(self, advance: Advance | None = None, kept: Sequence[Head] = ()) -> Report:
        """See AuditStore."""
        with _translated(self.path):
            connection = await asyncio.to_thread(_connect, self.path, make=False)
            # A byte that makes a text no UTF-8 any more must be read to be found.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            try:
                return await verify_snapshot(_Snapshot(connection), advance, kept)
            finally:
                await asyncio.to_thread(connection.close)

    async def retain(
        self, first_kept: date, *, accept_broken: bool = False, advance: Advance | None = None
    ) -> Retained:
        """See AuditStore."""
        return await self._run(
            lambda connection: _retain(connection, first_kept, accept_broken=accept_broken, advance=advance)
        )

    async def _select(self, clauses: str, parameters: Sequence[Any]) -> list[Evidence]:
        found = await self._run(lambda connection: connection.execute(_ALL + clauses, parameters).fetchall())
        return [evidence_of(_linked(columns)) for columns in found]

    async def _run(self, work: Callable[[sqlite3.Connection], Result], *, make: bool = False) -> Result:
        async with self._lock:
            return await asyncio.to_thread(self._work, work, make=make)

    def _work(self, work: Callable[[sqlite3.Connection], Result], *, make: bool) -> Result:
        with _translated(self.path):
            if self._connection is None:
                self._connection = _connect(self.path, make=make)
            return work(self._connection)


class _Snapshot:
    """A trail inside one read transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("BEGIN")

    async def heads(self) -> list[Head]:
        return await asyncio.to_thread(_heads, self._connection)

    async def dropped(self) -> list[DroppedRun]:
        return await asyncio.to_thread(_dropped, self._connection)

    async def rows(self) -> AsyncIterator[list[LinkedRow]]:
        cursor = self._connection.execute(f"{_ALL} ORDER BY source_partition, source_offset")
        while found := await asyncio.to_thread(cursor.fetchmany, READ_ROWS):
            yield [_linked(columns) for columns in found]

    async def unregistered(self, rows: Sequence[LinkedRow]) -> list[LinkedRow]:
        return []

    async def registered(self) -> int | None:
        return None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise AuditUnavailable(
            f"{path}: expected a SQLite file that can be written, got: {error}; make room, or name another DATA_DIR"
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise AuditError(f"{path}: expected the SQLite file of an audit trail, got: {error}") from error


def _connect(path: Path, *, make: bool) -> sqlite3.Connection:
    if not make and not path.exists():  # an empty trail beside none would look like one that holds
        raise AuditError(
            f"{path}: expected the SQLite file of an audit trail, there is none: set POSTGRES_URL or DATA_DIR as the "
            "sink has it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
    with _transaction(connection):
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > REVISION:
            raise AuditError(
                f"{path}: expected revision {REVISION} of the audit trail, got {found}: use a newer version"
            )
        if found == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {REVISION}")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    # At once the only writer: what is read here is still true when it is written.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _append(connection: sqlite3.Connection, rows: Sequence[EvidenceRow]) -> Appended:
    with _transaction(connection):
        heads = {head.source_partition: head for head in _heads(connection)}
        of_rows = {row.source_partition: Head(row.source_partition) for row in rows}
        found = extend(of_rows | heads, rows, _known(connection, rows))
        if found.unexplained:
            found = without_dropped(found, _dropped(connection))
        refuse_unexplained(found)
        _insert(connection, found)
    return Appended(len(found.linked), found.redelivered, found.duplicates)


def _insert(connection: sqlite3.Connection, found: Extension) -> None:
    connection.executemany(
        _INSERT,
        [(*row[:TIME_AT], microseconds(row.event_time), *row[TIME_AT + 1 :], *hashes) for row, *hashes in found.linked],
    )
    connection.executemany(_SET_HEAD, found.heads.values())


def _known(connection: sqlite3.Connection, rows: Sequence[EvidenceRow]) -> set[tuple[str, str]]:
    known: set[tuple[str, str]] = set()
    for start in range(0, len(rows), LOOKUP_ROWS):
        asked = [text for row in rows[start : start + LOOKUP_ROWS] for text in row.identity]
        places = ", ".join(["(?, ?)"] * (len(asked) // 2))
        known.update(
            connection.execute(
                f"SELECT transaction_id, user_id FROM evidence WHERE (transaction_id, user_id) IN (VALUES {places})",
                asked,
            )
        )
    return known


def _heads(connection: sqlite3.Connection) -> list[Head]:
    return [Head(*columns) for columns in connection.execute("SELECT * FROM heads ORDER BY source_partition")]


def _dropped(connection: sqlite3.Connection) -> list[DroppedRun]:
    return [DroppedRun(*columns) for columns in connection.execute("SELECT * FROM dropped")]


def _linked(columns: Sequence[Any]) -> LinkedRow:
    try:
        moment: Any = moment_of(columns[TIME_AT])
    except OverflowError:
        moment = None  # no sink writes it: its hash will not hold
    return linked_row([*columns[:TIME_AT], moment, *columns[TIME_AT + 1 :]])


def _retain(
    connection: sqlite3.Connection, first_kept: date, *, accept_broken: bool, advance: Advance | None
) -> Retained:
    before_us = microseconds(datetime(first_kept.year, first_kept.month, 1, tzinfo=UTC))
    builder = RunBuilder()
    with _transaction(connection):
        months = connection.execute(
            "SELECT DISTINCT strftime('%Y-%m', event_time / 1000000, 'unixepoch') FROM evidence "
            "WHERE event_time < ? ORDER BY 1",
            (before_us,),
        ).fetchall()
        cursor = connection.execute(
            f"{_ALL} WHERE event_time < ? ORDER BY source_partition, source_offset", (before_us,)
        )
        while found := cursor.fetchmany(READ_ROWS):
            builder.take(map(_linked, found))
            if advance is not None:
                advance(builder.rows)
        if not accept_broken:
            refuse_broken(builder)
        runs = builder.runs(_dropped(connection))
        connection.execute("DELETE FROM dropped")
        connection.executemany(_INSERT_RUN, runs)
        connection.execute("DELETE FROM evidence WHERE event_time < ?", (before_us,))
    return Retained(tuple(month for (month,) in months), builder.rows, builder.broken)
