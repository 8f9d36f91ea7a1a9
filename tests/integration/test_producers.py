"""What a worker's producers say when the broker refuses them, in whichever step they hear of that."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.producers import BATCH_BYTES, PartitionProducer, Producers
from fraudstream.agents.rekeying import Rekeying
from fraudstream.errors import Fenced
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from tests.checker import ordered_producer, read_topic, until
from tests.servers.kafka import KafkaCluster

pytestmark = pytest.mark.servers


@pytest.fixture
async def settings(kafka: KafkaCluster, own_settings: Settings) -> Settings:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
    return settings


@pytest.fixture
async def producer(kafka: KafkaCluster, settings: Settings) -> AsyncIterator[PartitionProducer]:
    """That of partition 0."""
    producers = Producers(settings, kafka.bootstrap)
    try:
        await producers.take_over({0})
        yield producers[0]
    finally:
        await producers.stop()


@pytest.mark.parametrize("profiles", [[], [(b"u", b"profile")]])
async def test_whoever_was_fenced_is_told_so_by_the_commit(
    kafka: KafkaCluster, settings: Settings, profiles: list[tuple[bytes, bytes]]
) -> None:
    try:
        await commit_after_a_successor(settings, kafka.bootstrap, profiles)
    finally:
        gc.collect()  # asyncio logs the task that the client lets go of: here, and not amidst whatever comes next


async def commit_after_a_successor(settings: Settings, bootstrap: str, profiles: list[tuple[bytes, bytes]]) -> None:
    stalled, successor = Producers(settings, bootstrap), Producers(settings, bootstrap)
    try:
        await stalled.take_over({0})
        await stalled[0].send(settings.verdicts_topic, [(b"u", b"verdict", [])])
        await successor.take_over({0})
        # A topic that is new to the transaction must be added to it: the batch hears of it, the commit comes later.
        await asyncio.wait(await stalled[0].send(settings.alerts_topic, [(b"u", b"alert", [])]))

        async def has_ended() -> bool:
            return not stalled[0]._producer._txn_manager.is_in_transaction()

        await until(has_ended, 10.0, "the client has given the transaction up")
        with pytest.raises(Fenced, match="another worker has taken over"):
            await stalled[0].commit(changelog_topic(settings), profiles, 2)
    finally:
        await asyncio.gather(stalled.stop(), successor.stop())


async def test_where_the_last_transaction_wrote_joins_the_next_in_one_request(
    settings: Settings, producer: PartitionProducer
) -> None:
    joined = joins_of(producer)
    for topics in ((settings.verdicts_topic, settings.alerts_topic), (settings.verdicts_topic,)):
        for topic in topics:
            await asyncio.wait(await producer.send(topic, [(b"u", b"told", [])]))
        await producer.commit(changelog_topic(settings), [(b"u", b"profile")], 1)
    verdicts, alerts, changelog = settings.verdicts_topic, settings.alerts_topic, changelog_topic(settings)
    assert [one for one, _ in groupby(joined)] == [{verdicts}, {alerts}, {changelog}, {verdicts, alerts, changelog}]


async def test_a_commit_tells_how_far_its_profiles_go_in_the_changelog(
    kafka: KafkaCluster, settings: Settings, producer: PartitionProducer
) -> None:
    changelog = changelog_topic(settings)
    told: dict[str, int] = {}
    for sizes in ((1,), (2, 3, 4), (BATCH_BYTES // 2, BATCH_BYTES // 2 + 1, 5)):  # the last in batches of its own
        profiles = [(f"u{size}".encode(), bytes(size)) for size in sizes]
        told[f"u{sizes[-1]}"] = await producer.commit(changelog, profiles, 1)
    assert await producer.commit(changelog, [], 1) == -1
    written = {record.key.decode(): record.offset for record in await read_topic(kafka.bootstrap, changelog)}
    assert told == {user: written[user] for user in told}


def joins_of(producer: PartitionProducer) -> list[set[str]]:
    """The topics of each request by which partitions join its transactions, from now on; one can be asked again."""
    client: Any = producer._producer.client
    send, joined = client.send, list[set[str]]()

    async def noted(node: int, request: Any, **named: Any) -> Any:
        if isinstance(request, AddPartitionsToTxnRequest):
            joined.append({topic for topic, _ in request._topics})
        return await send(node, request, **named)

    client.send = noted
    return joined


async def test_whoever_was_fenced_while_it_re_keys_is_told_so_between_two_topics(
    kafka: KafkaCluster, own_settings: Settings
) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap, "keying": "payload"})
    await create_topics(settings, kafka.bootstrap)
    try:
        assert isinstance(await fault_after_a_successor(settings, kafka.bootstrap), Fenced)
    finally:
        gc.collect()


async def fault_after_a_successor(settings: Settings, bootstrap: str) -> Exception:
    faults: asyncio.Queue[Exception] = asyncio.Queue()
    stalled, successor = (Rekeying(settings, bootstrap, lambda *_: None) for _ in range(2))
    stalled.on_fault = faults.put_nowait
    try:
        await stalled.take_over({0})
        learn_late(stalled.producers[0]._producer, settings.dead_letters_topic)
        await successor.take_over({0})
        async with ordered_producer(bootstrap) as producer:
            good = b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m"}'
            batch = producer.create_batch()  # both come in one fetch
            for value in (good, b"{"):
                batch.append(key=None, value=value, timestamp=None)
            await (await producer.send_batch(batch, settings.transactions_topic, partition=0))
        return await asyncio.wait_for(faults.get(), 20.0)
    finally:
        await asyncio.gather(stalled.stop(), successor.stop())


def learn_late(producer: Any, topic: str) -> None:
    """Has a client learn where a topic is only when it has given its transaction up."""
    learn = producer.client._wait_on_metadata

    async def has_ended() -> bool:
        return not producer._txn_manager.is_in_transaction()

    async def late(asked: str) -> Any:
        if asked == topic:
            await until(has_ended, 10.0, "the client has given the transaction up")
        return await learn(asked)

    producer.client._wait_on_metadata = late
