"""Drops old months of the audit trail in PostgreSQL and leaves their account in the chain; run by the owner."""

from __future__ import annotations

from datetime import date
from typing import Any

from fraudstream.adapters.audit_check import Advance
from fraudstream.adapters.audit_dropped import DroppedRun, RunBuilder
from fraudstream.adapters.audit_migrate import OWNER
from fraudstream.adapters.audit_rows import COLUMNS, linked_row
from fraudstream.adapters.audit_store import Retained, refuse_broken

READ_ROWS = 1_000
LOCK_TIMEOUT = "10s"
"""Dropping a table waits for those who read it, and all others wait behind it: not for long."""

_MONTHS = """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'evidence'::regclass AND c.relname < $1 ORDER BY c.relname
"""


async def retain(connection: Any, first_kept: date, *, accept_broken: bool, advance: Advance | None) -> Retained:
    """Drops all months before that of `first_kept`, one transaction each.

    Args:
        connection: of its own; it is left with the owner's role.

    Raises:
        AuditError: rows do not hold, see `AuditStore.retain`; earlier months are dropped.
        asyncpg.PostgresError: as the database says.
    """
    await connection.execute(f"SET ROLE {OWNER}")
    tables = [record["relname"] for record in await connection.fetch(_MONTHS, f"evidence_{first_kept:%Y%m}")]
    rows = broken = 0
    for table in tables:
        async with connection.transaction():
            builder = await _drop(connection, table, rows, accept_broken=accept_broken, advance=advance)
        rows, broken = rows + builder.rows, broken + builder.broken
    months = tuple(f"{table[-6:-2]}-{table[-2:]}" for table in tables)
    return Retained(months, rows, broken)


async def _drop(connection: Any, table: str, done: int, *, accept_broken: bool, advance: Advance | None) -> RunBuilder:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")  # no late row may come in unseen
    builder = RunBuilder()
    # By name, so that it can be closed: a table that is being read cannot be dropped.
    await connection.execute(
        f"DECLARE dropping CURSOR FOR SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY source_partition, source_offset"
    )
    while found := await connection.fetch(f"FETCH {READ_ROWS} FROM dropping"):
        builder.take(map(linked_row, found))
        if advance is not None:
            advance(done + builder.rows)
    await connection.execute("CLOSE dropping")
    if not accept_broken:
        refuse_broken(builder)
    earlier = [DroppedRun(*run.values()) for run in await connection.fetch("SELECT * FROM dropped FOR UPDATE")]
    runs = builder.runs(earlier)
    await connection.execute("DELETE FROM dropped")
    await connection.copy_records_to_table("dropped", records=runs)
    await connection.execute(
        f"DELETE FROM identities i USING {table} e WHERE i.transaction_id = e.transaction_id AND i.user_id = e.user_id"
    )
    await connection.execute(f"DROP TABLE {table}")
    return builder
