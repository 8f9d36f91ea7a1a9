"""What the producer of a partition says when the broker refuses it, in whichever step it hears of that."""

from __future__ import annotations

import asyncio
import gc

import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.producers import Producers
from fraudstream.errors import Fenced
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic
from tests.checker import until
from tests.servers.kafka import KafkaCluster

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("profiles", [[], [(b"u", b"profile")]])
async def test_whoever_was_fenced_is_told_so_by_the_commit(
    kafka: KafkaCluster, own_settings: Settings, profiles: list[tuple[bytes, bytes]]
) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
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
