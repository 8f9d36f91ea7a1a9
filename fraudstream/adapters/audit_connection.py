"""Connections to the PostgreSQL of the audit trail: how they are set up, and what its errors mean to us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from fraudstream.adapters.audit_migrate import READER, SCHEMA, WRITER
from fraudstream.errors import AuditError, AuditUnavailable, SettingsError, said

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 60.0
"""A database that stands still this long counts as away; a batch takes a fraction of a second."""
CONNECTIONS = 4

SERVER_SETTINGS = {
    "application_name": "fraudstream-audit",
    "search_path": SCHEMA,
    "timezone": "UTC",
    "synchronous_commit": "on",  # a commit is on the disk when it returns
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "120s",  # the heads that a stalled sink holds come free
}
PATIENT = {"idle_in_transaction_session_timeout": "0"}


class Connections:
    """Opened when they are first asked for, and again whenever they were lost.

    Raises:
        SettingsError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        _refuse_bad_url(url)

    def close(self) -> None:
        """Lets them go, without waiting for a server that does not answer."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Any]:
        """One of a few that are kept, for short work.

        Raises:
            AuditUnavailable, AuditError: also for what the block asks of it.
        """
        with translated():
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self._url,
                        min_size=0,
                        max_size=CONNECTIONS,
                        timeout=CONNECT_TIMEOUT_S,
                        command_timeout=STATEMENT_TIMEOUT_S,
                        server_settings=SERVER_SETTINGS,
                    )
            async with self._pool.acquire(timeout=STATEMENT_TIMEOUT_S) as connection:
                yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        """For work that takes as long as the trail is large: no limit to a statement, none of the few kept ones."""
        with translated():
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT_S, server_settings={**SERVER_SETTINGS, **PATIENT}
            )
            try:
                yield connection
            finally:
                connection.terminate()


def _refuse_bad_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_readable = parts.scheme in {"postgresql", "postgres"} and (parts.port or True)
    except ValueError:
        is_readable = False
    if not is_readable:  # the address is not told: it may hold a password
        raise SettingsError(
            "POSTGRES_URL: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, got another form; signs such "
            "as / @ : in a password are written as %2F %40 %3A"
        )


@contextmanager
def translated() -> Iterator[None]:
    """Turns the client's errors into ours: what waiting may mend, and what somebody must mend."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError) as error:
        raise AuditError(
            f"expected the tables of the audit trail in PostgreSQL, got: {error}; run `fraudstream audit migrate`, or "
            f"where that was done, GRANT {WRITER} or {READER} to the role of POSTGRES_URL"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise AuditError(
            f"expected a role with the rights of the audit trail, got: {error}; docs/audit.md says which role does what"
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise AuditUnavailable(f"expected PostgreSQL at POSTGRES_URL to answer, got: {said(error)}") from error
