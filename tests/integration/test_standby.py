"""On a real broker: who comes back in time causes no rebalance, and a standby that takes over reads only the tail."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.cli.doctor import examine
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from fraudstream.training.history import encode_rows, read_history
from tests.checker import (
    assert_each_once,
    assert_states_equal,
    end_offsets,
    states_by_changelog,
    states_by_oracle,
    states_by_rocksdb,
    until,
    verdicts_of,
)
from tests.datasets import data_set
from tests.integration.test_exactly_once import Stream
from tests.servers.kafka import KafkaCluster
from tests.servers.ports import free_port
from tests.worker import Worker

ROWS = int(os.environ.get("STANDBY_ROWS", "60000"))
SESSION_TIMEOUT_S = 6.0
LONG_SESSION_S = 90.0  # a restart on a busy machine must fit in
WITHIN_S = 90.0
ASKED_WITHIN_S = 20.0
EXIT_FENCED = 75
MOST_OF_TAIL = 0.05

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(200)]

_ASSIGNED = re.compile(r"Executing _on_partitions_assigned")
_RESTORED = re.compile(r"restored (\d+) profile records in ([\d.]+) s")


@pytest.fixture(scope="module")
def messages() -> list[tuple[bytes, bytes]]:
    """The earliest rows of sparkov_a as they travel."""
    return encode_rows(read_history(data_set("sparkov_a.parquet"), rows=ROWS))


@pytest.fixture
def settings(own_settings: Settings, kafka: KafkaCluster) -> Settings:
    return own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "kafka_session_timeout_s": SESSION_TIMEOUT_S}
    )


class Fleet:
    """Workers that end with the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._workers: list[Worker] = []

    def add(self, settings: Settings, name: str, **changed: object) -> Worker:
        worker = Worker(settings.model_copy(update=changed), self._directory, name)
        self._workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self._workers:
            worker.end()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.end()


def assignments(worker: Worker) -> int:
    return len(_ASSIGNED.findall(worker.log_text()))


async def partitions(worker: Worker) -> list[int]:
    answer = await worker.ask("/health")
    return [] if answer is None else list(answer.json()["partitions"])


async def until_shared(*workers: Worker) -> None:
    """Waits until each has partitions, profiles and nothing to complain of, and all partitions have one owner."""

    async def is_shared() -> bool:
        owned = [await partitions(worker) for worker in workers]
        return all(owned) and sorted(itertools.chain(*owned)) == [0, 1, 2, 3]

    await until(is_shared, WITHIN_S, "partitions shared by all workers")
    for worker in workers:
        await worker.ready()


async def assert_exactly_once(stream: Stream, settings: Settings, bootstrap: str) -> None:
    expected = [json.loads(value)["transaction_id"] for _, value in stream.messages]
    assert_each_once(await verdicts_of(bootstrap, settings.verdicts_topic, "read_committed"), expected)
    assert_states_equal(
        await states_by_changelog(bootstrap, changelog_topic(settings)),
        states_by_oracle(stream.sent, settings.allowed_lateness_s),
    )


def instance_ids(bootstrap: str, group: str) -> set[str]:
    """What Kafka itself says of the group's members."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    described = client.describe_consumer_groups([group])[group].result(timeout=ASKED_WITHIN_S)
    return {member.group_instance_id for member in described.members}


async def test_a_static_member_that_comes_back_in_time_causes_no_rebalance(
    kafka: KafkaCluster, settings: Settings, fleet: Fleet, messages: list[tuple[bytes, bytes]]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    long = {"kafka_session_timeout_s": LONG_SESSION_S}
    first = fleet.add(settings, "first", kafka_group_instance_id="worker-0", **long)
    second = fleet.add(settings, "second", kafka_group_instance_id="worker-1", **long)
    first.start()
    second.start()
    await until_shared(first, second)
    assert instance_ids(kafka.bootstrap, settings.app_id) == {"worker-0", "worker-1"}
    before, owned = assignments(second), await partitions(first)
    stream = Stream(kafka.bootstrap, settings, messages[: ROWS // 2])
    producing = asyncio.create_task(stream.run())
    await stream.until_judged(len(stream.messages) // 5, [first, second])
    first.kill()
    await asyncio.to_thread(first.start)
    await first.ready()
    assert await partitions(first) == owned
    await stream.until_judged(len(stream.messages) // 2, [first, second])
    assert await asyncio.to_thread(first.stop) == 0, first.tail()
    await asyncio.to_thread(first.start)
    await first.ready()
    await producing
    await stream.until_all_committed([first, second])
    assert assignments(second) == before, "the other worker was rebalanced"
    await assert_exactly_once(stream, settings, kafka.bootstrap)


async def test_a_second_worker_of_the_same_name_ends_the_first_with_a_word(
    kafka: KafkaCluster, settings: Settings, fleet: Fleet
) -> None:
    await create_topics(settings, kafka.bootstrap)
    first = fleet.add(settings, "first", kafka_group_instance_id="twin")
    second = fleet.add(settings, "second", kafka_group_instance_id="twin", worker_url=None)
    await first.start().ready()
    second.settings = second.settings.model_copy(update={"worker_url": f"http://127.0.0.1:{first.port}"})
    second.start()
    code = await asyncio.to_thread(first.wait, WITHIN_S)
    assert code == EXIT_FENCED, first.tail()
    assert "another process has joined with KAFKA_GROUP_INSTANCE_ID=twin" in first.log_text()
    await second.ready()
    await asyncio.sleep(2 * SESSION_TIMEOUT_S)
    assert second.exit_code() is None, second.tail()
    assert await partitions(second) == [0, 1, 2, 3]


async def test_a_standby_takes_over_within_seconds_and_reads_only_the_tail(
    kafka: KafkaCluster, settings: Settings, fleet: Fleet, messages: list[tuple[bytes, bytes]]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    workers = [fleet.add(settings, name, standby_replicas=1) for name in ("first", "second")]
    for worker in workers:
        worker.start()
    await until_shared(*workers)
    victim, heir = workers
    stream = Stream(kafka.bootstrap, settings, messages)
    producing = asyncio.create_task(stream.run())
    await stream.until_judged(len(messages) // 2, workers)
    warm = (await asyncio.to_thread(heir.call, "GET", "/health")).json()
    assert sorted(warm["standby"] + warm["partitions"]) == [0, 1, 2, 3]
    victim.kill()
    killed_s = time.monotonic()
    at_kill = sum((await end_offsets(kafka.bootstrap, changelog_topic(settings))).values())
    log_before = len(heir.log_text())

    async def has_all() -> bool:
        return await partitions(heir) == [0, 1, 2, 3]

    await until(has_all, WITHIN_S, "all partitions with the heir")
    assigned_s = time.monotonic()
    await heir.ready()
    took_s, waited_s = time.monotonic() - assigned_s, assigned_s - killed_s
    restored = _RESTORED.findall(heir.log_text()[log_before:])
    read = sum(int(records) for records, _ in restored)
    print(f"{at_kill} changelog offsets; waited {waited_s:.1f} s, then {took_s:.2f} s and {read} records: {restored}")
    assert at_kill > ROWS / 20, "too little was written to tell a tail from the whole"
    assert read <= at_kill * MOST_OF_TAIL, f"{read} of {at_kill} records were read at takeover"
    await producing
    await stream.until_all_committed([heir])
    assert await asyncio.to_thread(heir.stop) == 0, heir.tail()
    await assert_exactly_once(stream, settings, kafka.bootstrap)
    assert_states_equal(states_by_rocksdb(heir.data_dir), states_by_oracle(stream.sent, settings.allowed_lateness_s))


async def test_one_worker_too_many_waits_alive_and_says_why(
    kafka: KafkaCluster, settings: Settings, fleet: Fleet
) -> None:
    await create_topics(settings, kafka.bootstrap)
    workers = [fleet.add(settings, f"w{number}", liveness_stall_s=5.0) for number in range(5)]
    for worker in workers:
        worker.start()

    async def spares() -> list[Worker]:
        said = [(worker, await worker.ask("/health")) for worker in workers]
        return [worker for worker, answer in said if answer and "has nothing to do" in answer.body.decode()]

    without: list[Worker] = []

    async def is_settled() -> bool:
        owned = [await partitions(worker) for worker in workers]
        without[:] = await spares()
        return sorted(itertools.chain(*owned)) == [0, 1, 2, 3] and len(without) == 1

    settled = "four workers with one partition each, one without"
    await until(is_settled, WITHIN_S, settled)
    await asyncio.sleep(8.0)
    await until(is_settled, WITHIN_S, settled)  # where workers start slowly, partitions move once more
    (spare,) = without
    ready = await asyncio.to_thread(spare.call, "GET", "/health/ready")
    assert ready.status == 503
    assert ready.json()["problems"] == [
        "this worker has nothing to do: all 4 partitions are with others of the 5 workers; "
        "it takes over when one of them ends"
    ]
    live = await asyncio.to_thread(spare.call, "GET", "/health/live")
    assert (live.status, live.json()) == (200, {"alive": True, "problem": None})
    check = await asyncio.to_thread(lambda: next(one for one in examine(settings) if one.name == "workers"))
    assert (check.status, check.todo) == ("ok", "run at most 4"), check
    assert check.found == f"5 in the group {settings.app_id}, for 4 partitions: 1 without work"
    next(worker for worker in workers if worker is not spare).kill()
    await spare.ready()


async def test_a_static_member_that_comes_back_at_another_address_goes_on(
    kafka: KafkaCluster, settings: Settings, fleet: Fleet, messages: list[tuple[bytes, bytes]]
) -> None:
    await create_topics(settings, kafka.bootstrap)
    long = {"kafka_session_timeout_s": LONG_SESSION_S}
    workers = [fleet.add(settings, f"w{one}", kafka_group_instance_id=f"worker-{one}", **long) for one in range(2)]
    for worker in workers:
        worker.start()
    await until_shared(*workers)
    moves = workers[-1]
    owned, before = await partitions(moves), moves.settings.web_port
    assert await asyncio.to_thread(moves.stop) == 0, moves.tail()
    moves.port = free_port()
    moves.settings = moves.settings.model_copy(update={"web_port": moves.port})
    moves.start()
    await moves.ready()
    assert await partitions(moves) == owned
    assert f":{before} until partitions move for the next time" in moves.log_text()
    stream = Stream(kafka.bootstrap, settings, messages[:1_000])
    await stream.run()
    await stream.until_all_committed(workers)
    await assert_exactly_once(stream, settings, kafka.bootstrap)
