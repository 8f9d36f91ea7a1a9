"""The audit sink as users start it, on a real broker and a real PostgreSQL: killed, cut off, doubled, it loses nothing.

AUDIT_SINK_KILLS=10 AUDIT_SERVER_KILLS=3 AUDIT_OUTAGE_S=60 is the storm that docs/audit.md tells of; here it is shorter,
because Kafka takes a killed sink's partitions from it only after six seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from fraudstream.adapters.audit_store import open_store
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from tests.audit_rows import message
from tests.checker import read_topic
from tests.servers.kafka import KafkaCluster
from tests.servers.postgres import PostgresServer
from tests.worker import Worker

SINK_KILLS = int(os.environ.get("AUDIT_SINK_KILLS", "3"))
SERVER_KILLS = int(os.environ.get("AUDIT_SERVER_KILLS", "2"))
OUTAGE_S = float(os.environ.get("AUDIT_OUTAGE_S", "8"))
TRANSACTION_ROWS = 250
STORED_WITHIN_S = 90.0
POLL_S = 0.05
APP = "fraudstream.agents.audit"

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be killed."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def settings(
    own_settings: Settings, kafka: KafkaCluster, postgres: PostgresServer, server: PostgresServer
) -> Settings:
    """The shared server is asked for only because its absence skips the test in the right way."""
    settings = own_settings.model_copy(
        update={
            "kafka_servers": kafka.bootstrap,
            "kafka_session_timeout_s": 6.0,
            "postgres_url": SecretStr(server.url()),
            "audit_batch_rows": 500,
            "audit_batch_interval_s": 0.1,
        }
    )
    await create_topics(settings, kafka.bootstrap)
    async with open_store(settings) as store:
        await store.migrate()
    return settings


@pytest.fixture
def sink(settings: Settings, tmp_path: Path) -> Iterator[Worker]:
    sink = Worker(settings, tmp_path, "sink", app=APP)
    yield sink
    sink.end()


@pytest.fixture
def second(settings: Settings, tmp_path: Path) -> Iterator[Worker]:
    second = Worker(settings, tmp_path, "second", app=APP)
    yield second
    second.end()


class Verdicts:
    """Sends verdicts inside Kafka transactions, as workers do, and knows what must be stored."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings
        self.sent = 0

    async def send(self, count: int = TRANSACTION_ROWS, *, abort: bool = False) -> None:
        """One Kafka transaction; the verdicts of one that is aborted come never, and their numbers again."""
        await self._producer.begin_transaction()
        sent = []
        for number in range(self.sent, self.sent + count):
            partition = number % self._settings.topic_partitions
            value, headers = message(number, partition, explanation="aborted" if abort else "kept")
            sent.append(
                await self._producer.send(
                    self._settings.verdicts_topic, value, b"key", partition=partition, headers=headers
                )
            )
        await asyncio.gather(*sent)
        if abort:
            await self._producer.abort_transaction()
        else:
            await self._producer.commit_transaction()
            self.sent += count

    async def stream(self, until: asyncio.Event, every_s: float = 0.1) -> None:
        """Goes on until it is told; every fifth transaction is aborted first."""
        chance = random.Random(1)
        while not until.is_set():
            if chance.random() < 0.2:
                await self.send(abort=True)
            await self.send()
            await asyncio.sleep(every_s)


@pytest.fixture
async def verdicts(settings: Settings) -> AsyncIterator[Verdicts]:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_servers, transactional_id=f"{settings.app_id}-test", linger_ms=5
    )
    async with producer:
        yield Verdicts(producer, settings)


async def stored(settings: Settings) -> int:
    """Rows in the database; -1 while it is away."""
    assert settings.postgres_url is not None
    try:
        connection = await asyncpg.connect(settings.postgres_url.get_secret_value(), timeout=2)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return -1
    try:
        return int(await connection.fetchval("SELECT coalesce(sum(rows), 0) FROM fraudstream_audit.heads"))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return -1
    finally:
        connection.terminate()


async def until_stored(settings: Settings, rows: int, sinks: list[Worker]) -> None:
    deadline_s = time.monotonic() + STORED_WITHIN_S
    while (found := await stored(settings)) < rows:
        for sink in sinks:
            assert sink.exit_code() is None, f"the sink ended by itself:\n{sink.tail()}"
        assert time.monotonic() < deadline_s, f"{found} of {rows} rows are stored:\n{sinks[0].tail()}"
        await asyncio.sleep(POLL_S)


async def assert_each_once(settings: Settings, sent: int) -> None:
    """Nothing missing, nothing double, byte for byte what was sent, and the chain holds."""
    assert settings.postgres_url is not None
    connection = await asyncpg.connect(settings.postgres_url.get_secret_value())
    try:
        rows = await connection.fetch(
            "SELECT transaction_id, verdict_json, transaction_json, features FROM fraudstream_audit.evidence"
        )
    finally:
        await connection.close()
    expected = {}
    for number in range(sent):
        value, headers = message(number, number % settings.topic_partitions, explanation="kept")
        expected[f"t{number}"] = (value, *(content for _, content in headers))
    assert len(rows) == sent
    assert {row["transaction_id"]: tuple(row.values())[1:] for row in rows} == expected
    async with open_store(settings) as store:
        report = await store.verify()
    assert (report.rows, report.broken) == (sent, 0), report.findings


async def test_kills_of_the_sink_and_of_the_database_lose_nothing_and_double_nothing(
    settings: Settings, server: PostgresServer, sink: Worker, verdicts: Verdicts
) -> None:
    chance, over = random.Random(7), asyncio.Event()
    sink.start()
    streaming = asyncio.create_task(verdicts.stream(over))
    kills = ["sink"] * SINK_KILLS + ["server"] * SERVER_KILLS
    chance.shuffle(kills)
    hit = 0
    for kill in kills:
        at = max(await stored(settings), 0)
        await until_stored(settings, at + chance.randrange(1, 3 * TRANSACTION_ROWS), [sink])
        hit += await stored(settings) < verdicts.sent  # there was something left to lose
        if kill == "sink":
            sink.kill()
            sink.start()
        else:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.revive)
    over.set()
    await streaming
    await until_stored(settings, verdicts.sent, [sink])
    assert sink.stop() == 0, sink.tail()
    assert hit >= len(kills) / 2, "the kills must hit a sink at work"
    print(f"{verdicts.sent} verdicts, {SINK_KILLS} kills of the sink and {SERVER_KILLS} of the database; {hit} at work")
    await assert_each_once(settings, verdicts.sent)


async def test_while_the_database_is_away_the_sink_waits_and_says_so_and_stores_everything_afterwards(
    settings: Settings, server: PostgresServer, sink: Worker, verdicts: Verdicts
) -> None:
    await sink.start().ready()
    await verdicts.send()
    await until_stored(settings, verdicts.sent, [sink])
    over = asyncio.Event()
    streaming = asyncio.create_task(verdicts.stream(over))
    await asyncio.to_thread(server.kill)
    deadline_s = time.monotonic() + OUTAGE_S
    said = []
    while time.monotonic() < deadline_s:
        answer = await sink.ask("/health")
        assert answer is not None, f"the view must answer:\n{sink.tail()}"
        said.append((answer.status, answer.json()))
        await asyncio.sleep(0.5)
    status, health = said[-1]
    assert (status, health["ready"]) == (503, False)
    assert "expected PostgreSQL at POSTGRES_URL to answer" in health["problems"][0]
    assert len(health["partitions"]) == settings.topic_partitions, "it keeps its partitions"
    assert health["waiting"] > 0
    metrics = await sink.ask("/metrics")
    assert metrics is not None
    assert b"fraudstream_audit_ready 0.0" in metrics.body
    over.set()
    await streaming
    await asyncio.to_thread(server.revive)
    await until_stored(settings, verdicts.sent, [sink])
    await sink.ready(within_s=20)
    answer = await sink.ask("/health")
    assert answer is not None
    assert (answer.json()["lag"], answer.json()["failures"] > 0) == (0, True)
    assert sink.stop() == 0, sink.tail()
    await assert_each_once(settings, verdicts.sent)


async def test_a_sink_that_starts_before_its_database_waits_for_it(
    settings: Settings, server: PostgresServer, sink: Worker, verdicts: Verdicts
) -> None:
    await asyncio.to_thread(server.kill)
    sink.start()
    await verdicts.send()
    async with asyncio.timeout(60):
        while "verdicts are not stored, they wait" not in sink.log_text():
            assert sink.exit_code() is None, sink.tail()
            await asyncio.sleep(POLL_S)
    await asyncio.to_thread(server.revive)
    await until_stored(settings, verdicts.sent, [sink])
    await assert_each_once(settings, verdicts.sent)


async def test_a_sink_without_tables_ends_with_one_line_that_says_what_to_do(
    settings: Settings, server: PostgresServer, tmp_path: Path
) -> None:
    empty = settings.model_copy(update={"postgres_url": SecretStr(server.create_database("empty"))})
    with Worker(empty, tmp_path, "lost", app=APP) as sink:
        assert await asyncio.to_thread(sink.wait, 60) == 78
        assert "run `fraudstream audit migrate`" in sink.tail()


async def test_a_sink_without_topics_ends_and_says_so_also_while_the_database_is_away(
    settings: Settings, server: PostgresServer, tmp_path: Path
) -> None:
    await asyncio.to_thread(server.kill)
    elsewhere = settings.model_copy(update={"verdicts_topic": f"{settings.verdicts_topic}-of-nobody"})
    with Worker(elsewhere, tmp_path, "lost", app=APP) as sink:
        assert await asyncio.to_thread(sink.wait, 60) == 78
        assert elsewhere.verdicts_topic in sink.tail()


async def test_a_second_sink_takes_over_and_the_stalled_first_one_breaks_no_chain(
    settings: Settings, sink: Worker, second: Worker, verdicts: Verdicts
) -> None:
    over = asyncio.Event()
    await sink.start().ready()
    streaming = asyncio.create_task(verdicts.stream(over))
    await until_stored(settings, 4 * TRANSACTION_ROWS, [sink])
    await second.start().ready()  # a rebalance with both alive
    await until_stored(settings, verdicts.sent, [sink, second])
    sink.stall()
    at_stall = verdicts.sent
    await until_stored(settings, at_stall + 8 * TRANSACTION_ROWS, [second])
    sink.resume()
    await until_stored(settings, verdicts.sent + 4 * TRANSACTION_ROWS, [second])
    over.set()
    await streaming
    await until_stored(settings, verdicts.sent, [second])
    assert second.stop() == 0, second.tail()
    await assert_each_once(settings, verdicts.sent)


async def test_aborted_verdicts_are_never_stored_and_what_is_none_goes_to_the_dead_letters(
    settings: Settings, sink: Worker, verdicts: Verdicts
) -> None:
    await verdicts.send(abort=True)
    await verdicts.send()
    await verdicts.send(abort=True)
    await sink.start().ready()
    await until_stored(settings, verdicts.sent, [sink])
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_servers) as producer:
        await producer.send_and_wait(settings.verdicts_topic, b"{}", b"odd", partition=1)
        await producer.send_and_wait(settings.verdicts_topic, json.dumps({"user_id": 7}).encode(), partition=2)
        odd: list[dict[str, Any]] = [{"source_partition": 2**31}, {"source_offset": -1}, {"user_id": "u" * 3000}]
        for number, changed in enumerate(odd):
            value, headers = message(number, 3, transaction_id=f"odd {number}", **changed)
            await producer.send_and_wait(settings.verdicts_topic, value, partition=3, headers=headers)
    await verdicts.send()
    await until_stored(settings, verdicts.sent, [sink])
    letters = await read_topic(str(settings.kafka_servers), settings.dead_letters_topic)
    reasons = sorted(dict(letter.headers)["reason"] for letter in letters)
    assert reasons == [b"malformed_json"] * 3 + [b"missing_field"] * 2
    assert {b'{"user_id": 7}', b"{}"} < {letter.value for letter in letters}
    answer = await sink.ask("/metrics")
    assert answer is not None
    assert b'fraudstream_dead_letters_total{reason="missing_field"} 2.0' in answer.body
    assert b'fraudstream_dead_letters_total{reason="malformed_json"} 3.0' in answer.body
    assert sink.stop() == 0, sink.tail()
    await assert_each_once(settings, verdicts.sent)
