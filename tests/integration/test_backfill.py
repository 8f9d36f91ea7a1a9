"""Backfilled profiles on a real broker: a worker that starts from them cannot be told from one that streamed it all."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.backfill import require_untouched, write_profiles
from fraudstream.agents.producers import Producers
from fraudstream.errors import BrokerError, Fenced, FraudstreamError, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from fraudstream.training.history import History, encode_rows, write
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import (
    Sent,
    UserState,
    assert_each_once,
    assert_states_equal,
    ordered_producer,
    produce,
    read_topic,
    states_by_changelog,
    states_by_oracle,
    until,
    verdicts_of,
)
from tests.servers.kafka import KafkaCluster
from tests.worker import CHECKOUT, Worker, environment

ROWS = 6_000
USERS = 80
SESSION_TIMEOUT_S = 6.0
LIMIT_S = 60.0
PER_STREAM = ("source_offset", "timestamp")
"""Where and when a transaction came to its topic: no part of what was found out about it."""
PROFILES = [(f"user-{number}".encode(), b"\x01" * 100) for number in range(3_000)]

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def history() -> History:
    return simulate(SimulationSpec(transactions=ROWS, users=USERS, seed=17))


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "kafka_session_timeout_s": SESSION_TIMEOUT_S}
    )


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Settings of a second system, with the first one's names and a mark."""
    names = ("app_id", "transactions_topic", "verdicts_topic", "alerts_topic", "dead_letters_topic")
    return settings.model_copy(update={name: f"{getattr(settings, name)}-filled" for name in names})


@pytest.fixture
def file(history: History, tmp_path: Path) -> Path:
    write(history, tmp_path / "history.parquet")
    return tmp_path / "history.parquet"


def backfill(settings: Settings, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fraudstream.cli.main", "backfill", *map(str, arguments)],
        env=environment(settings), cwd=CHECKOUT, check=False, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip


async def stream(worker: Worker, messages: Sequence[tuple[bytes, bytes]]) -> list[Sent]:
    """Sends all through the worker and waits until it has judged them and ended in order."""
    bootstrap = worker.settings.kafka_servers or ""
    await worker.ready()
    async with ordered_producer(bootstrap) as producer:
        sent = await produce(producer, worker.settings.transactions_topic, messages)

    async def all_are_judged() -> bool:
        return len(await read_topic(bootstrap, worker.settings.verdicts_topic)) >= len(messages)

    await until(all_are_judged, LIMIT_S, f"{len(messages)} verdicts")
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    return sent


async def findings(settings: Settings, expected: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What was found out about each transaction."""
    verdicts = await verdicts_of(settings.kafka_servers or "", settings.verdicts_topic)
    assert_each_once(verdicts, expected)
    said = {name: json.loads(values[0]) for name, values in verdicts.by_id.items()}
    return {name: {key: verdict[key] for key in verdict if key not in PER_STREAM} for name, verdict in said.items()}


def without_offsets(states: dict[bytes, UserState]) -> dict[bytes, UserState]:
    return {user: {name: state[name] for name in state if name != "offset"} for user, state in states.items()}


async def test_after_a_backfill_verdicts_and_states_are_those_of_a_worker_that_streamed_everything(
    settings: Settings, filled: Settings, history: History, file: Path, tmp_path: Path
) -> None:
    bootstrap, told = settings.kafka_servers or "", tmp_path / "told.json"
    messages = encode_rows(history)
    border_s = int(history.numbers("timestamp")[ROWS // 2]) // 1_000_000_000
    border = datetime.fromtimestamp(border_s, UTC).isoformat()
    past = len(history.between(until=border))
    ids = [json.loads(value)["transaction_id"] for _, value in messages]
    for system in (settings, filled):
        await create_topics(system, bootstrap)
    with Worker(settings, tmp_path, "streamed") as worker:
        sent = await stream(worker, messages)
    streamed = await findings(settings, ids)

    done = await asyncio.to_thread(backfill, filled, "--input", file, "--until", border, "--json", told)
    assert done.returncode == 0, done.stderr
    result = json.loads(told.read_text(encoding="utf-8"))
    assert (result["rows"], result["skipped"]) == (past, 0)
    assert result["users"] == len({key for key, _ in messages[:past]})
    with Worker(filled, tmp_path, "filled") as worker:
        await stream(worker, messages[past:])
    assert await findings(filled, ids[past:]) == {name: streamed[name] for name in ids[past:]}
    assert any(verdict["flagged"] for verdict in streamed.values())

    expected = without_offsets(states_by_oracle(sent, settings.allowed_lateness_s))
    for system in (settings, filled):
        found = await states_by_changelog(bootstrap, changelog_topic(system))
        assert_states_equal(without_offsets(found), expected)

    again = await asyncio.to_thread(backfill, filled, "--input", file)
    assert again.returncode == 1
    assert "expected no profiles" in again.stderr
    assert again.stderr.count("\n") == 1, again.stderr


async def test_rows_that_a_worker_would_refuse_are_skipped_and_told_and_the_others_fill_the_profiles(
    settings: Settings, history: History, tmp_path: Path
) -> None:
    await create_topics(settings, settings.kafka_servers or "")
    amounts = history.numbers("amount").copy()
    amounts[[10, 2000, ROWS - 1]] = -3.5
    column = history.table.column_names.index("amount")
    write(History(history.table.set_column(column, "amount", pa.array(amounts))), tmp_path / "bad.parquet")
    told = tmp_path / "told.json"
    done = await asyncio.to_thread(backfill, settings, "--input", tmp_path / "bad.parquet", "--json", told)
    assert done.returncode == 0, done.stderr
    result = json.loads(told.read_text(encoding="utf-8"))
    assert (result["rows"], result["skipped"], result["reasons"]) == (ROWS, 3, {"out_of_range": 3})
    assert result["users"] == USERS
    assert "row 11: amount: expected a number from 0 to 42949672.95, got -3.5" in done.stdout


async def test_while_a_worker_lives_a_backfill_is_refused(settings: Settings, file: Path, tmp_path: Path) -> None:
    bootstrap = settings.kafka_servers or ""
    await create_topics(settings, bootstrap)
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        refused = await asyncio.to_thread(backfill, settings, "--input", file)
        assert refused.returncode == 1
        assert f"expected no worker of the group {settings.app_id}, got 1" in refused.stderr
        assert worker.stop() == 0, worker.tail()
    await require_untouched(settings, bootstrap)  # it has left


async def test_without_topics_a_backfill_says_how_to_create_them(settings: Settings, file: Path) -> None:
    refused = await asyncio.to_thread(backfill, settings, "--input", file)
    assert refused.returncode == 1
    assert "fraudstream topics create" in refused.stderr


async def test_producers_with_another_partitioner_are_found_out(settings: Settings) -> None:
    bootstrap = settings.kafka_servers or ""
    await create_topics(settings, bootstrap)
    async with ordered_producer(bootstrap) as producer:
        for number in range(8):
            await producer.send_and_wait(
                settings.transactions_topic, b"{}", key=f"u{number}".encode(), partition=number % 4
            )
    with pytest.raises(TopicError, match="murmur2"):
        await require_untouched(settings, bootstrap)


async def assert_nothing_was_written(settings: Settings, bootstrap: str) -> None:
    assert await read_topic(bootstrap, changelog_topic(settings)) == []
    await require_untouched(settings, bootstrap)


async def test_a_backfill_that_fails_in_the_middle_leaves_nothing_and_may_be_done_again(settings: Settings) -> None:
    bootstrap = settings.kafka_servers or ""
    await create_topics(settings, bootstrap)

    def breaking() -> Iterator[list[tuple[bytes, bytes]]]:
        yield PROFILES[:2_000]
        raise BrokerError("the disk is gone")

    with pytest.raises(FraudstreamError, match="the disk is gone"):
        await write_profiles(settings, bootstrap, breaking())
    await assert_nothing_was_written(settings, bootstrap)
    told: list[int] = []
    assert await write_profiles(settings, bootstrap, [PROFILES], told.append) == len(PROFILES) == told[-1]
    records = await read_topic(bootstrap, changelog_topic(settings))
    assert sorted((record.key, record.value) for record in records) == sorted(PROFILES)


async def test_a_worker_that_starts_meanwhile_fences_the_backfill(settings: Settings) -> None:
    bootstrap = settings.kafka_servers or ""
    await create_topics(settings, bootstrap)
    entered = asyncio.Event()
    owner = Producers(settings, bootstrap)

    async def write() -> None:
        def profiles() -> Iterator[list[tuple[bytes, bytes]]]:
            yield PROFILES[:1_000]
            entered.set()
            for start in range(1_000, 3_000, 20):
                yield PROFILES[start : start + 20]

        await write_profiles(settings, bootstrap, profiles())

    writing = asyncio.create_task(write())
    await entered.wait()
    await owner.take_over(set(range(settings.topic_partitions)))  # what a worker does before it reads
    with pytest.raises((Fenced, BrokerError)):
        await writing
    await owner.stop()
    await assert_nothing_was_written(settings, bootstrap)
