"""The audit trail in PostgreSQL (asyncpg): append, search, verify; how the tables are made stands in the migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from fraudstream.adapters.audit_chain import Extension, Head, extend
from fraudstream.adapters.audit_check import Advance, Report, verify_snapshot
from fraudstream.adapters.audit_connection import Connections, translated
from fraudstream.adapters.audit_dropped import DroppedRun, without_dropped
from fraudstream.adapters.audit_migrate import SCHEMA, WRITER, latest_revision, migrate
from fraudstream.adapters.audit_retention import retain
from fraudstream.adapters.audit_rows import COLUMNS, EvidenceRow, LinkedRow, evidence_of, linked_row
from fraudstream.adapters.audit_store import Appended, Retained, refuse_unexplained
from fraudstream.errors import AuditError, AuditUnavailable
from fraudstream.evidence import Evidence

READ_ROWS = 1_000
MONTHS_AHEAD = 2
RACES = 5
"""How often two sinks may store the same transaction at the same moment before it counts as a fault."""

_ALL = f"SELECT {', '.join(f'e.{name}' for name in COLUMNS)} FROM evidence e "
_NAMES = ", ".join(COLUMNS)
_STAGE = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS staged ON COMMIT DELETE ROWS AS SELECT {_NAMES} FROM evidence WITH NO DATA
"""
_KNOWN = """
    SELECT i.transaction_id, i.user_id FROM unnest($1::text[], $2::text[]) AS asked (transaction_id, user_id)
    JOIN identities i USING (transaction_id, user_id)
"""
_INSERT_IDENTITIES = """
    INSERT INTO identities SELECT transaction_id, user_id, event_time FROM staged ON CONFLICT DO NOTHING
"""
_INSERT_EVIDENCE = f"INSERT INTO evidence ({_NAMES}) SELECT {_NAMES} FROM staged ON CONFLICT DO NOTHING"

# The identities lead to the month, so that only its tables are searched.
_OF_TRANSACTION = """
    JOIN identities i USING (transaction_id, user_id, event_time)
    WHERE i.transaction_id = $1 AND ($3::text IS NULL OR i.user_id = $3)
    ORDER BY e.event_time DESC, e.source_offset DESC LIMIT $2
"""
_NEWEST_OF_USER = "WHERE e.user_id = $1 ORDER BY e.event_time DESC, e.source_offset DESC LIMIT $2"
_NEXT_OF_USER = """
    WHERE e.user_id = $1 AND ($2::timestamptz IS NULL OR e.event_time <= $2)
        AND (e.source_partition, e.source_offset) > ($3::integer, $4::bigint)
    ORDER BY e.source_partition, e.source_offset LIMIT $5
"""
# The newest of each partition are at the end of its key; there is no index over all event times.
_NEWEST = f"""
    SELECT e.* FROM heads h CROSS JOIN LATERAL (
        SELECT {_NAMES} FROM evidence WHERE source_partition = h.source_partition ORDER BY source_offset DESC LIMIT $1
    ) e ORDER BY e.event_time DESC, e.source_offset DESC LIMIT $1
"""
_UNREGISTERED = """
    SELECT asked.at FROM unnest($1::text[], $2::text[], $3::timestamptz[])
        WITH ORDINALITY AS asked (transaction_id, user_id, event_time, at)
    LEFT JOIN identities i USING (transaction_id, user_id, event_time) WHERE i.transaction_id IS NULL
"""


class _Raced(Exception):
    """Another sink stored one of the transactions between the look and the insert."""


class PostgresStore:
    """The trail at a URL; connects when it is first asked and again whenever the connection was lost.

    Raises:
        AuditUnavailable: from each method, while the server is away.
        AuditError: from each method, where it is not migrated or rights are missing.
        SettingsError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections = Connections(url)
        self._months: set[date] = set()

    async def close(self) -> None:
        """Lets the connections go."""
        self._connections.close()

    async def check(self) -> None:
        """See AuditStore."""
        async with self._connections.shared() as connection:
            found = await connection.fetchval(f"SELECT version_num FROM {SCHEMA}.alembic_version")
            wanted = await asyncio.to_thread(latest_revision)
            if found != wanted:
                raise AuditError(
                    f"expected revision {wanted} of the audit trail in PostgreSQL, got {found}: run "
                    "`fraudstream audit migrate` of this version of fraudstream"
                )
            if not await connection.fetchval("SELECT has_table_privilege('evidence', 'INSERT')"):
                raise AuditError(
                    "expected a role that may write the audit trail, the one of POSTGRES_URL may not: "
                    f"GRANT {WRITER} to it"
                )

    async def migrate(self) -> str:
        """See AuditStore."""
        with translated():
            return await migrate(self._url)

    async def append(self, rows: Sequence[EvidenceRow]) -> Appended:
        """See AuditStore."""
        async with self._connections.shared() as connection:
            await self._make_months(connection, rows)
            for _ in range(RACES):
                try:
                    async with connection.transaction():
                        return await self._append(connection, rows)
                except _Raced:
                    continue
                except asyncpg.CheckViolationError:  # a month was dropped since it was made
                    self._months.clear()
                    await self._make_months(connection, rows)
        raise AuditUnavailable(f"expected to store {len(rows)} rows, other sinks came in between {RACES} times")

    async def _append(self, connection: Any, rows: Sequence[EvidenceRow]) -> Appended:
        partitions = sorted({row.source_partition for row in rows})
        found_heads = await connection.fetch("SELECT * FROM take_heads($1::integer[])", partitions)
        heads = {head["source_partition"]: Head(*head.values()) for head in found_heads}
        ids, users = zip(*(row.identity for row in rows), strict=True) if rows else ((), ())
        known = await connection.fetch(_KNOWN, ids, users)
        found = extend(heads, rows, (tuple(one.values()) for one in known))
        if found.unexplained:
            found = without_dropped(found, await _dropped(connection))
        refuse_unexplained(found)
        if found.linked:
            await self._insert(connection, found, heads)
        return Appended(len(found.linked), found.redelivered, found.duplicates)

    async def _insert(self, connection: Any, found: Extension, heads: dict[int, Head]) -> None:
        await connection.execute(_STAGE)
        await connection.copy_records_to_table(
            "staged", records=[(*row, *hashes) for row, *hashes in found.linked], columns=COLUMNS
        )
        for statement in (_INSERT_IDENTITIES, _INSERT_EVIDENCE):
            if await connection.execute(statement) != f"INSERT 0 {len(found.linked)}":
                raise _Raced
        for partition, head in sorted(found.heads.items()):
            await connection.execute(
                "SELECT move_head($1, $2, $3, $4, $5)", partition, heads[partition].head_hash, *head[1:]
            )

    async def _make_months(self, connection: Any, rows: Sequence[EvidenceRow]) -> None:
        today = datetime.now(UTC)
        ahead = [_month(today.year, today.month + number) for number in range(MONTHS_AHEAD + 1)]
        needed = {_month(row.event_time.year, row.event_time.month) for row in rows}.union(ahead) - self._months
        if needed:
            await connection.execute("SELECT make_months($1::date[])", sorted(needed))
            self._months |= needed

    async def heads(self) -> list[Head]:
        """See AuditStore."""
        async with self._connections.shared() as connection:
            return await _heads(connection)

    async def find(self, transaction_id: str) -> Evidence | None:
        """See EvidenceStore; where several users have it, the newest."""
        found = await self.search(transaction_id=transaction_id, limit=1)
        return found[0] if found else None

    async def of_user(self, user_id: str, until: datetime | None = None) -> AsyncIterator[Evidence]:
        """See EvidenceStore."""
        after = (-1, -1)
        while True:
            found = await self._select(_ALL + _NEXT_OF_USER, user_id, until, *after, READ_ROWS)
            for one in found:
                yield one
            if len(found) < READ_ROWS:
                return
            after = (found[-1].partition, found[-1].offset)

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        """See AuditStore."""
        if transaction_id is not None:
            return await self._select(_ALL + _OF_TRANSACTION, transaction_id, limit, user_id)
        if user_id is not None:
            return await self._select(_ALL + _NEWEST_OF_USER, user_id, limit)
        return await self._select(_NEWEST, limit)

    async def verify(self, advance: Advance | None = None, kept: Sequence[Head] = ()) -> Report:
        """See AuditStore."""
        # Of one moment, while the sink goes on; a merge of the months' keys instead of a sort of everything.
        async with (
            self._connections.alone() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute("SET LOCAL enable_sort = off")
            return await verify_snapshot(_Snapshot(connection), advance, kept)

    async def retain(
        self, first_kept: date, *, accept_broken: bool = False, advance: Advance | None = None
    ) -> Retained:
        """See AuditStore."""
        async with self._connections.alone() as connection:
            return await retain(connection, first_kept, accept_broken=accept_broken, advance=advance)

    async def _select(self, query: str, *parameters: Any) -> list[Evidence]:
        async with self._connections.shared() as connection:
            found = await connection.fetch(query, *parameters)
        return [evidence_of(linked_row(record)) for record in found]


class _Snapshot:
    """A trail inside one transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def heads(self) -> list[Head]:
        return await _heads(self._connection)

    async def dropped(self) -> list[DroppedRun]:
        return await _dropped(self._connection)

    async def rows(self) -> AsyncIterator[list[LinkedRow]]:
        cursor = await self._connection.cursor(f"{_ALL} ORDER BY source_partition, source_offset")
        while found := await cursor.fetch(READ_ROWS):
            yield [linked_row(record) for record in found]

    async def unregistered(self, rows: Sequence[LinkedRow]) -> list[LinkedRow]:
        columns = [[getattr(row, name) for row, *_ in rows] for name in ("transaction_id", "user_id", "event_time")]
        return [rows[record["at"] - 1] for record in await self._connection.fetch(_UNREGISTERED, *columns)]

    async def registered(self) -> int | None:
        return int(await self._connection.fetchval("SELECT count(*) FROM identities"))


async def _heads(connection: Any) -> list[Head]:
    return [Head(*head.values()) for head in await connection.fetch("SELECT * FROM heads ORDER BY source_partition")]


async def _dropped(connection: Any) -> list[DroppedRun]:
    return [DroppedRun(*run.values()) for run in await connection.fetch("SELECT * FROM dropped")]


def _month(year: int, month: int) -> date:
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
