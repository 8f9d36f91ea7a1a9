"""Both stores of the audit trail keep the same promises: one suite, through SQLite and through a real PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from fraudstream.adapters.audit_dropped import DroppedRun
from fraudstream.adapters.audit_migrate import SCHEMA
from fraudstream.adapters.audit_rows import COLUMNS, EvidenceRow
from fraudstream.adapters.audit_store import SQLITE_FILE, Appended, AuditStore, open_store
from fraudstream.errors import AuditError
from fraudstream.settings import Settings
from tests.audit_rows import START, row, rows_of

pytestmark = pytest.mark.usefixtures("plain_environment")


class Trail:
    """A store, and a way past it: what somebody with the administrator's rights could do."""

    def __init__(self, store: AuditStore, settings: Settings) -> None:
        self.store = store
        self.settings = settings

    async def execute(self, statement: str) -> None:
        """Runs a statement behind the store's back."""
        if self.settings.postgres_url is None:
            connection = sqlite3.connect(self.settings.data_dir / SQLITE_FILE)
            try:
                with connection:
                    connection.execute(statement)
            finally:
                connection.close()
            return
        connection = await asyncpg.connect(
            self.settings.postgres_url.get_secret_value(), server_settings={"search_path": SCHEMA}
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @property
    def is_sqlite(self) -> bool:
        return self.settings.postgres_url is None


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def settings(request: pytest.FixtureRequest, own_settings: Settings, tmp_path: Path) -> Settings:
    url = SecretStr(request.getfixturevalue("own_database")) if request.param == "postgres" else None
    return own_settings.model_copy(update={"postgres_url": url, "data_dir": tmp_path / "data"})


@pytest.fixture
async def trail(settings: Settings) -> AsyncIterator[Trail]:
    async with open_store(settings) as store:
        await store.migrate()
        yield Trail(store, settings)


async def test_what_is_appended_is_found_as_it_was(trail: Trail) -> None:
    rows = rows_of(300)
    assert await trail.store.append(rows) == Appended(300, 0, 0)
    found = await trail.store.find("t17")
    assert found is not None
    assert (found.transaction_id, found.user_id, found.partition, found.offset) == ("t17", "user_17", 1, 34)
    assert (found.verdict, found.transaction, found.features) == rows[17][-3:]
    before = await trail.store.find("t13")  # the row before it in partition 1
    assert found.chain is not None
    assert before is not None
    assert before.chain is not None
    assert found.chain.previous_hash == before.chain.row_hash
    assert await trail.store.find("t300") is None


async def test_search_gives_the_newest_first_and_of_user_the_order_of_judging(trail: Trail) -> None:
    await trail.store.append(rows_of(300))
    assert [one.transaction_id for one in await trail.store.search(limit=3)] == ["t299", "t298", "t297"]
    assert [one.transaction_id for one in await trail.store.search(user_id="user_3", limit=2)] == ["t294", "t197"]
    assert [one.transaction_id for one in await trail.store.search(transaction_id="t5")] == ["t5"]
    assert await trail.store.search(transaction_id="t5", user_id="user_6") == []
    until = START + timedelta(minutes=194)
    assert [one.transaction_id async for one in trail.store.of_user("user_0")] == ["t0", "t97", "t194", "t291"]
    assert {one.transaction_id async for one in trail.store.of_user("user_0", until)} == {"t0", "t97", "t194"}


async def test_redelivery_changes_nothing_and_goes_on_behind_the_end(trail: Trail) -> None:
    await trail.store.append(rows_of(200))
    heads = await trail.store.heads()
    assert await trail.store.append(rows_of(100, first=100)) == Appended(0, 100, 0)
    assert await trail.store.heads() == heads
    assert await trail.store.append(rows_of(200, first=50)) == Appended(50, 150, 0)
    report = await trail.store.verify()
    assert (report.rows, report.broken) == (250, 0)


async def test_one_row_for_a_transaction_a_duplicate_changes_nothing(trail: Trail) -> None:
    first = row(1)
    later = row(5, transaction_id="t1", user_id="user_1", duplicate=True)  # at a later offset, with another time
    assert await trail.store.append([first, row(2), later, row(6)]) == Appended(3, 0, 1)
    assert await trail.store.append([row(8, transaction_id="t2", user_id="user_2")]) == Appended(0, 0, 1)
    assert await trail.store.append([later]) == Appended(0, 1, 0), "redelivered"
    assert [one.offset for one in await trail.store.search(transaction_id="t1")] == [first.source_offset]
    report = await trail.store.verify()
    assert (report.rows, report.broken) == (3, 0)


async def test_the_same_id_of_another_user_is_another_transaction(trail: Trail) -> None:
    assert await trail.store.append([row(1), row(2, transaction_id="t1", user_id="other")]) == Appended(2, 0, 0)
    assert {one.user_id for one in await trail.store.search(transaction_id="t1")} == {"user_1", "other"}
    for user in ("user_1", "other"):  # the older of them must not be cut off by the limit
        (found,) = await trail.store.search(transaction_id="t1", user_id=user, limit=1)
        assert found.user_id == user


async def test_rows_before_the_end_that_were_never_seen_are_refused_and_nothing_is_stored(trail: Trail) -> None:
    await trail.store.append([row(10)])
    with pytest.raises(AuditError, match="t3 at source offset 6"):
        await trail.store.append([row(11), row(3)])
    assert [head.rows for head in await trail.store.heads()] == [1]


async def test_a_restart_goes_on_where_the_chain_ended(trail: Trail) -> None:
    await trail.store.append(rows_of(100))
    async with open_store(trail.settings) as again:
        await again.check()
        await again.append(rows_of(100, first=100))
        report = await again.verify()
    assert (report.rows, report.broken) == (200, 0)


async def test_two_sinks_that_store_the_same_at_the_same_time_make_one_chain(trail: Trail) -> None:
    async def store_all(settings: Settings, size: int) -> int:
        async with open_store(settings) as store:
            stored = 0
            for start in range(0, 600, size):
                stored += (await store.append(rows_of(size, first=start))).stored
            return stored

    counts = await asyncio.gather(*(store_all(trail.settings, size) for size in (20, 50, 60)))
    assert sum(counts) == 600
    report = await trail.store.verify()
    assert (report.rows, report.broken) == (600, 0)


async def test_an_empty_trail_holds(trail: Trail) -> None:
    assert await trail.store.append([]) == Appended(0, 0, 0)
    report = await trail.store.verify()
    assert (report.rows, report.broken) == (0, 0)


async def test_a_trail_that_was_shortened_or_written_anew_does_not_go_on_from_kept_heads(trail: Trail) -> None:
    """As whoever may write rows, heads and identities could: the trail agrees with itself."""
    await trail.store.append(rows_of(40))
    kept = await trail.store.heads()
    await trail.store.append(rows_of(40, first=40))
    assert (await trail.store.verify(kept=kept)).broken == 0
    for table in ("evidence", "heads") if trail.is_sqlite else ("evidence", "heads", "identities"):
        await trail.execute(f"DELETE FROM {table}")
    await trail.store.append(rows_of(36))
    assert (await trail.store.verify()).broken == 0
    report = await trail.store.verify(kept=kept)
    assert [(one.partition, one.offset) for one in report.findings] == [
        (head.source_partition, head.last_offset) for head in kept
    ]
    await trail.store.append([row(36, explanation="another"), *rows_of(3, first=37)])
    assert [one.partition for one in (await trail.store.verify(kept=kept)).findings] == [0]


async def test_dropped_rows_are_held_to_kept_heads_as_far_as_their_account_reaches(trail: Trail) -> None:
    await trail.store.append(rows_of(40))
    kept = await trail.store.heads()
    await trail.store.retain(date(2024, 3, 1))
    assert (await trail.store.verify(kept=kept)).broken == 0
    others = [head._replace(head_hash=bytes(32)) for head in kept]
    assert (await trail.store.verify(kept=others)).broken == len(kept)


def changed(column: str, is_sqlite: bool) -> str:
    """SQL that gives a column's value with one byte, or less, changed."""
    if column in {"source_partition", "source_offset"}:
        return f"{column} + 1"
    if column == "event_time":
        return "event_time + 1" if is_sqlite else "event_time + interval '1 microsecond'"
    if column in {"anomaly_score", "threshold"}:
        return f"{column} + 1e-9"
    if column == "flagged":
        return "3 - flagged" if is_sqlite else "NOT flagged"
    if column == "reasons":
        return "replace(reasons, '0.3', '0.2')" if is_sqlite else "replace(reasons::text, '0.3', '0.2')::json"
    if column in {"transaction_id", "user_id", "anomaly_type", "model_version"}:
        return f"'X' || substr({column}, 2)"
    if is_sqlite:
        last = f"CASE substr({column}, -1) WHEN x'00' THEN x'01' ELSE x'00' END"
        return f"CAST(substr({column}, 1, length({column}) - 1) || {last} AS BLOB)"
    bit = f"8 * length({column}) - 8"
    return f"set_bit({column}, {bit}, 1 - get_bit({column}, {bit}))"


async def test_a_changed_byte_in_any_column_is_found(trail: Trail) -> None:
    await trail.store.append(rows_of(80))
    await trail.execute("CREATE TABLE saved AS SELECT * FROM evidence")
    for column in COLUMNS:
        await trail.execute(
            f"UPDATE evidence SET {column} = {changed(column, trail.is_sqlite)} WHERE transaction_id = 't42'"
        )
        report = await trail.store.verify()
        assert report.rows == 80
        assert report.broken > 0, column
        await trail.execute("DELETE FROM evidence")
        await trail.execute("INSERT INTO evidence SELECT * FROM saved")
        assert (await trail.store.verify()).broken == 0


async def test_the_account_of_a_changed_row_names_it(trail: Trail) -> None:
    await trail.store.append(rows_of(80))
    await trail.execute("UPDATE evidence SET model_version = 'm-0' WHERE transaction_id = 't42'")
    report = await trail.store.verify()
    assert report.broken == 1
    assert str(report.findings[0]).startswith("partition 2 offset 84 (t42): expected the columns")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM evidence WHERE transaction_id = 't40'",
        "DELETE FROM evidence WHERE transaction_id = 't79'",  # the newest of its partition
        "DELETE FROM evidence WHERE source_partition = 3",
        "DELETE FROM heads WHERE source_partition = 3",
        "UPDATE heads SET rows = rows + 1 WHERE source_partition = 1",
        "UPDATE heads SET last_offset = last_offset + 2 WHERE source_partition = 1",
        "UPDATE heads SET source_partition = 9 WHERE source_partition = 1",
        "INSERT INTO evidence SELECT {columns} FROM evidence WHERE transaction_id = 't40'",
    ],
)
async def test_a_removed_or_inserted_row_and_a_changed_head_are_found(trail: Trail, statement: str) -> None:
    await trail.store.append(rows_of(80))
    columns = [
        {"source_offset": "source_offset + 1", "transaction_id": "'new'"}.get(column, column) for column in COLUMNS
    ]
    await trail.execute(statement.format(columns=", ".join(columns)))
    assert (await trail.store.verify()).broken > 0


def over_months(count: int) -> list[EvidenceRow]:
    """Rows of which each third day is a row of January, February and March in turn: months are mixed in the chain."""
    times = [datetime(2026, 1 + number % 3, 1 + number % 28, tzinfo=UTC) for number in range(count)]
    return [row(number, number % 2, event_time=time.isoformat()) for number, time in enumerate(times)]


async def test_retention_drops_old_months_and_the_rest_is_as_verifiable_as_before(trail: Trail) -> None:
    rows = over_months(300)
    await trail.store.append(rows)
    done = await trail.store.retain(date(2026, 2, 14))
    assert (done.months, done.rows, done.broken) == (("2026-01",), 100, 0)
    report = await trail.store.verify()
    assert (report.rows, report.dropped, report.broken) == (200, 100, 0)
    assert await trail.store.find("t0") is None
    assert (await trail.store.append(rows)).redelivered == 300, "what was dropped is not stored again"
    await trail.store.append([row(400, 0, event_time="2026-01-31T12:00:00Z")])
    assert (await trail.store.retain(date(2026, 3, 1))).months == ("2026-01", "2026-02"), "a late one among them"
    report = await trail.store.verify()
    assert (report.rows, report.dropped, report.broken) == (100, 201, 0)
    await trail.execute("DELETE FROM evidence WHERE transaction_id = 't2'")
    assert (await trail.store.verify()).broken > 0


async def test_a_changed_account_of_what_was_dropped_is_found(trail: Trail) -> None:
    await trail.store.append(over_months(60))
    await trail.store.retain(date(2026, 2, 1))
    await trail.execute("CREATE TABLE saved AS SELECT * FROM dropped")
    for column in DroppedRun._fields:
        is_hash = column.endswith("_hash")
        zeros = "zeroblob(32)" if trail.is_sqlite else "decode(repeat('00', 32), 'hex')"
        await trail.execute(
            f"UPDATE dropped SET {column} = {zeros if is_hash else column + ' + 1'} "
            "WHERE source_partition = 0 AND first_offset = 12"
        )
        assert (await trail.store.verify()).broken > 0, column
        await trail.execute("DELETE FROM dropped")
        await trail.execute("INSERT INTO dropped SELECT * FROM saved")
        assert (await trail.store.verify()).broken == 0


async def test_retention_does_not_remove_the_traces_of_a_change(trail: Trail) -> None:
    await trail.store.append(over_months(30))
    await trail.execute("UPDATE evidence SET threshold = 0.5 WHERE transaction_id = 't3'")
    with pytest.raises(AuditError, match=r"partition 1 offset 6: .*--accept-broken"):
        await trail.store.retain(date(2026, 2, 1))
    assert (await trail.store.verify()).rows == 30
    done = await trail.store.retain(date(2026, 2, 1), accept_broken=True)
    assert (done.rows, done.broken) == (10, 1)
    report = await trail.store.verify()
    assert (report.rows, report.broken) == (20, 0)


async def test_texts_and_times_at_their_limits_come_back_as_they_were(trail: Trail) -> None:
    odd: dict[str, Any] = {
        "transaction_id": "ü" * 128,
        "user_id": "用户 \"'\\",
        "event_time": "2099-12-31T23:59:59.999999Z",
        "anomaly_score": 1e-300,
        "reasons": [],
    }
    await trail.store.append([row(1, **odd), row(2, event_time="2000-01-01T00:00:00+00:00")])
    found = await trail.store.find("ü" * 128)
    assert found is not None
    assert found.user_id == odd["user_id"]
    assert (await trail.store.verify()).broken == 0
