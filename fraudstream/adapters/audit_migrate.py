"""Brings the schema of the audit trail in PostgreSQL up to date: roles by plain SQL, everything else by Alembic."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

from fraudstream.errors import AuditError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

SCHEMA = "fraudstream_audit"
OWNER, WRITER, READER = "fraudstream_audit_owner", "fraudstream_audit_writer", "fraudstream_audit_reader"
PACKAGE, FOLDER = "fraudstream.adapters", "audit_migrations"


async def migrate(url: str) -> str:
    """Makes the roles and the schema where they are missing and applies what is not applied; returns the revision.

    Args:
        url: of a role that is member of the owner, or may create roles and a schema.

    Raises:
        AuditError: rights are missing; says which and what to do.
        OSError, asyncpg.PostgresError: the server cannot be reached, or refuses.
    """
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(files(f"{PACKAGE}.{FOLDER}").joinpath("roles.sql").read_text(encoding="utf-8"))
    except asyncpg.InsufficientPrivilegeError as error:
        raise AuditError(
            f"expected a role that may create the roles and the schema of the audit trail, got: {error}; run "
            f"{PACKAGE.replace('.', '/')}/{FOLDER}/roles.sql as an administrator first, then GRANT {OWNER} to the role "
            "that POSTGRES_URL names for this command"
        ) from None
    finally:
        await connection.close()
    # The connection is asyncpg's own, so that one form of POSTGRES_URL serves every command.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _as_owner(url), poolclass=NullPool)
    try:
        async with engine.begin() as opened:
            await opened.run_sync(_upgrade)
    finally:
        await engine.dispose()
    return latest_revision()


def latest_revision() -> str:
    """The revision that this code needs."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_config()).get_current_head())


async def _as_owner(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    await connection.execute(f"SET ROLE {OWNER}")  # what is made belongs to the owner, whoever migrates
    return connection


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", f"{PACKAGE}:{FOLDER}")
    config.set_main_option("path_separator", "os")
    return config
