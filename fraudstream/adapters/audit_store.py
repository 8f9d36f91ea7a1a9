"""Where the audit trail is kept: one face, with PostgreSQL behind it where POSTGRES_URL is set and SQLite otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from fraudstream.adapters.audit_chain import Extension, Head
from fraudstream.adapters.audit_check import Advance, Report
from fraudstream.adapters.audit_dropped import RunBuilder
from fraudstream.adapters.audit_rows import EvidenceRow
from fraudstream.errors import AuditError, SettingsError
from fraudstream.evidence import EvidenceStore
from fraudstream.settings import Settings


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of rows that were given to `append`.

    Attributes:
        stored: new rows.
        redelivered: were there already.
        duplicates: later verdicts on transactions that are there already; they change nothing.
    """

    stored: int
    redelivered: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Retained:
    """What `retain` dropped.

    Attributes:
        months: as YYYY-MM.
        broken: rows among them whose hash did not hold.
    """

    months: tuple[str, ...]
    rows: int
    broken: int


class AuditStore(EvidenceStore, Protocol):
    """What every store of the audit trail offers; each method raises AuditUnavailable while the database is away."""

    async def check(self) -> None:
        """Returns when the store can be written; raises AuditError with what to do where it cannot."""
        ...

    async def migrate(self) -> str:
        """Makes or brings up to date what the trail is kept in; returns its revision."""
        ...

    async def append(self, rows: Sequence[EvidenceRow]) -> Appended:
        """Stores what is new, all of it or nothing, and returns once it is durable.

        Args:
            rows: in the order of source offsets within a partition.

        Raises:
            AuditError: rows contradict the trail: they lie before its end and are not in it.
        """
        ...

    async def heads(self) -> list[Head]:
        """The ends of all chains, by partition."""
        ...

    async def verify(self, advance: Advance | None = None, kept: Sequence[Head] = ()) -> Report:
        """Reads every row and checks the whole chain, in bounded memory; changes nothing.

        Args:
            kept: heads of earlier, from where nobody who writes the trail can write: they must be in it still.
        """
        ...

    async def retain(
        self, first_kept: date, *, accept_broken: bool = False, advance: Advance | None = None
    ) -> Retained:
        """Drops the months before that of `first_kept`, leaving an account of them in the chain.

        Raises:
            AuditError: rows that would be dropped do not hold, and `accept_broken` is not set; their month stays.
        """
        ...

    async def close(self) -> None:
        """Lets the database go."""
        ...


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[AuditStore]:
    """The store that the settings name, closed at the end; see `make_store`."""
    store = make_store(settings)
    try:
        yield store
    finally:
        await store.close()


def make_store(settings: Settings) -> AuditStore:
    """The store that the settings name. It connects when it is first asked, so the database may be away now.

    Raises:
        SettingsError: POSTGRES_URL cannot be read, or the extra that it needs is not installed.
    """
    if settings.postgres_url is None:
        from fraudstream.adapters.audit_sqlite import SqliteStore

        return SqliteStore(settings.data_dir / SQLITE_FILE)
    try:
        from fraudstream.adapters.audit_postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"POSTGRES_URL needs {error.name}, which is not installed: pip install 'fraudstream[postgres]', or unset it"
        ) from None

    return PostgresStore(settings.postgres_url.get_secret_value())


SQLITE_FILE = "audit.sqlite3"
"""Inside DATA_DIR."""


def refuse_unexplained(found: Extension) -> None:
    """Refuses rows that contradict the trail.

    Raises:
        AuditError: there are such rows.
    """
    if not found.unexplained:
        return
    first = found.unexplained[0]
    raise AuditError(
        f"partition {first.source_partition}: expected verdicts after the end of the audit trail or in it, "
        f"got {first.transaction_id} at source offset {first.source_offset}, before the end and not in it "
        f"({len(found.unexplained)} such): the transactions topic was made anew, or the trail belongs to another "
        "cluster; keep this trail as it is and give the sink an empty database (POSTGRES_URL) or DATA_DIR"
    )


def refuse_broken(builder: RunBuilder) -> None:
    """Refuses to drop rows whose hash does not hold.

    Raises:
        AuditError: there are such rows.
    """
    first = builder.first_broken
    if first is None:
        return
    raise AuditError(
        f"partition {first.row.source_partition} offset {first.row.source_offset}: expected rows whose hash holds, "
        f"got {builder.broken} that were changed; dropping them would remove the traces: look at "
        "`fraudstream audit verify` first, then drop them with --accept-broken. They are still there"
    )
