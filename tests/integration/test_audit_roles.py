"""Who may do what with the audit trail in PostgreSQL, asked of a real server, and what is said to whoever may not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest
from pydantic import SecretStr

from fraudstream.adapters.audit_migrate import OWNER, READER, SCHEMA, WRITER
from fraudstream.adapters.audit_store import open_store
from fraudstream.errors import AuditError
from fraudstream.settings import Settings
from tests.audit_rows import row, rows_of
from tests.servers.postgres import ADMIN, PostgresServer

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("plain_environment")]

REFUSED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
def admin(own_settings: Settings, own_database: str) -> Settings:
    """Settings of the administrator of an empty database."""
    return own_settings.model_copy(update={"postgres_url": SecretStr(own_database)})


@pytest.fixture
async def migrated(admin: Settings) -> Settings:
    async with open_store(admin) as store:
        await store.migrate()
        await store.append(rows_of(20))
    return admin


async def login_as(admin: Settings, *roles: str) -> Settings:
    """Settings of a new login role that is member of these roles and nothing else."""
    assert admin.postgres_url is not None
    name = f"login_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(admin.postgres_url.get_secret_value())
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN")
        for role in roles:
            await connection.execute(f"GRANT {role} TO {name}")
    finally:
        await connection.close()
    url = admin.postgres_url.get_secret_value().replace(f"{ADMIN}@", f"{name}@")
    return admin.model_copy(update={"postgres_url": SecretStr(url)})


@pytest.fixture
async def writer(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    settings = await login_as(migrated, WRITER)
    assert settings.postgres_url is not None
    connection = await asyncpg.connect(
        settings.postgres_url.get_secret_value(), server_settings={"search_path": SCHEMA}
    )
    yield connection
    await connection.close()


async def test_the_writer_can_run_the_sink(migrated: Settings) -> None:
    async with open_store(await login_as(migrated, WRITER)) as store:
        await store.check()
        assert (await store.append(rows_of(30))).stored == 10
        assert (await store.append([row(50, event_time="2031-05-06T07:08:09Z")])).stored == 1, "it can make months"
        assert (await store.find("t25")) is not None


async def test_the_writer_can_remove_nothing(writer: asyncpg.Connection) -> None:
    for table in ("evidence", "identities", "heads", "dropped", "evidence_202401", "evidence_202401_0"):
        for statement in ("DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} RENAME TO x"):
            with pytest.raises(REFUSED):
                await writer.execute(statement.format(table))
    assert await writer.fetchval("SELECT count(*) FROM evidence") == 20


async def test_the_writer_can_change_nothing(writer: asyncpg.Connection) -> None:
    for statement in (
        "UPDATE evidence SET threshold = 0.5",
        "UPDATE evidence_202401_0 SET threshold = 0.5",
        "UPDATE identities SET user_id = 'x'",
        "UPDATE heads SET rows = 0",
        "INSERT INTO heads VALUES (9, 0, 0, '')",
        "INSERT INTO dropped VALUES (0, 0, 0, 1, '', '', '')",
        "CREATE TABLE fraudstream_audit.mine (one integer)",
        "INSERT INTO evidence SELECT * FROM evidence ON CONFLICT (source_partition, source_offset, user_id, event_time)"
        " DO UPDATE SET threshold = 0.5",
        f"SET ROLE {OWNER}",
        "UPDATE alembic_version SET version_num = '0'",
    ):
        with pytest.raises(REFUSED):
            await writer.execute(statement)


async def test_a_head_moves_forward_only_and_from_where_it_is(writer: asyncpg.Connection) -> None:
    head = await writer.fetchrow("SELECT * FROM heads WHERE source_partition = 1")
    for expected, rows, offset in (
        (bytes(32), head["rows"] + 1, head["last_offset"] + 1),
        (head["head_hash"], head["rows"], head["last_offset"] + 1),
        (head["head_hash"], head["rows"] + 1, head["last_offset"]),
    ):
        with pytest.raises(asyncpg.SerializationError, match="partition 1"):
            await writer.execute("SELECT move_head(1, $1, $2, $3, $4)", expected, rows, offset, bytes(32))
    assert await writer.fetchrow("SELECT * FROM heads WHERE source_partition = 1") == head


async def test_months_are_bounded(writer: asyncpg.Connection) -> None:
    for month in (date(1999, 12, 1), date(2100, 1, 1)):
        with pytest.raises(asyncpg.RaiseError, match="2000-01 to 2099-12"):
            await writer.execute("SELECT make_months($1::date[])", [month])


async def test_the_reader_reads_and_verifies_and_writes_nothing(migrated: Settings) -> None:
    async with open_store(await login_as(migrated, READER)) as store:
        assert (await store.verify()).broken == 0
        assert (await store.find("t7")) is not None
        assert len(await store.search(limit=5)) == 5
        with pytest.raises(AuditError, match=f"GRANT {WRITER}"):
            await store.check()
        for attempt in (store.append([row(90)]), store.retain(date(2030, 1, 1))):
            with pytest.raises(AuditError, match=r"docs/audit\.md"):
                await attempt


async def test_a_stranger_sees_nothing(migrated: Settings) -> None:
    async with open_store(await login_as(migrated)) as store:
        with pytest.raises(AuditError, match=r"does not exist.* or where that was done, GRANT"):
            await store.heads()


async def test_the_owner_migrates_again_and_drops_months(migrated: Settings) -> None:
    async with open_store(await login_as(migrated, OWNER)) as store:
        assert await store.migrate() == "0001"
        assert (await store.retain(date(2024, 2, 1))).rows == 20


async def test_months_are_made_ahead_of_need(writer: asyncpg.Connection) -> None:
    bounds = await writer.fetchval(
        "SELECT max(substr(inhrelid::regclass::text, 10)) FROM pg_inherits WHERE inhparent = 'evidence'::regclass"
    )
    assert bounds == await writer.fetchval("SELECT to_char(now() + interval '2 months', 'YYYYMM')")


async def test_a_database_without_tables_is_told_with_what_to_do(admin: Settings) -> None:
    async with open_store(admin) as store:
        for attempt in (store.check(), store.append([row(1)]), store.heads()):
            with pytest.raises(AuditError, match="fraudstream audit migrate"):
                await attempt


async def test_a_role_that_may_not_migrate_is_told_what_to_do(migrated: Settings, postgres: PostgresServer) -> None:
    empty = await login_as(migrated)
    assert empty.postgres_url is not None
    other = empty.model_copy(
        update={
            "postgres_url": SecretStr(
                postgres.create_database(f"t{uuid.uuid4().hex[:8]}").replace(
                    f"{ADMIN}@", empty.postgres_url.get_secret_value().split("//")[1].split("@")[0] + "@"
                )
            )
        }
    )
    async with open_store(other) as store:
        with pytest.raises(AuditError, match=r"roles\.sql as an administrator"):
            await store.migrate()
