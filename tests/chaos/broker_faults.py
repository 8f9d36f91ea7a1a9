"""Scenarios in which brokers die, stall and refuse."""

from __future__ import annotations

import asyncio

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.chaos.bed import Bed
from tests.chaos.scenario import Scenario

STEADY_S = 5.0
BACK_WITHIN_S = 15.0
ANSWER_WITHIN_S = 30.0


async def _one_broker(bed: Bed) -> None:
    broker = bed.chance.randint(1, 3)
    bed.cluster.kill(broker)
    await asyncio.sleep(10.0)
    await asyncio.to_thread(bed.cluster.revive, broker)
    await asyncio.sleep(STEADY_S)


async def _leaders(bed: Bed) -> None:
    """The leader of each partition in turn, of the source and of the topic that keeps the transactions."""
    topics = (bed.settings.transactions_topic, "__transaction_state", "__consumer_offsets")
    for number in range(bed.settings.topic_partitions):
        topic = topics[number % len(topics)]
        leader = (await asyncio.to_thread(bed.reader.leaders, topic))[number]
        bed.cluster.kill(leader)
        await asyncio.sleep(bed.chance.uniform(5.0, 8.0))
        await asyncio.to_thread(bed.cluster.revive, leader)
        await asyncio.sleep(STEADY_S)


def outage(seconds: float, brokers: int = 3) -> Scenario:
    """All brokers down at once."""

    async def script(bed: Bed) -> None:
        numbers = range(1, brokers + 1)
        bed.cluster.kill(*numbers)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(bed.cluster.revive, *numbers)
        bed.mark("back")
        await asyncio.sleep(BACK_WITHIN_S + STEADY_S)

    return Scenario(
        f"all brokers down for {seconds:.0f} s",
        script,
        brokers=brokers,
        resumed_s=BACK_WITHIN_S,
        about=f"kill -9 of every broker, back after {seconds:.0f} s: judging resumes by itself within "
        f"{BACK_WITHIN_S:.0f} s",
    )


async def _paused(bed: Bed) -> None:
    broker = bed.chance.randint(1, 3)
    bed.cluster.pause(broker)
    await asyncio.sleep(12.0)
    bed.cluster.resume(broker)
    await asyncio.sleep(STEADY_S)


async def _refused(bed: Bed) -> None:
    """The verdicts topic wants more copies in sync than there are, for a while: every produce is refused."""
    for topic in (bed.settings.verdicts_topic, bed.settings.alerts_topic):
        await asyncio.to_thread(_set_in_sync, bed.cluster.bootstrap, topic, 3)
    await asyncio.sleep(8.0)
    for topic in (bed.settings.verdicts_topic, bed.settings.alerts_topic):
        await asyncio.to_thread(_set_in_sync, bed.cluster.bootstrap, topic, 1)
    bed.mark("back")
    await asyncio.sleep(BACK_WITHIN_S)


def _set_in_sync(bootstrap: str, topic: str, copies: int) -> None:
    entry = ConfigEntry("min.insync.replicas", str(copies), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})  # its answers die with it
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(ANSWER_WITHIN_S)


ONE_BROKER = Scenario(
    "one broker of three killed", _one_broker, brokers=3, about="kill -9 of a broker, back after 10 s"
)
LEADERS = Scenario(
    "leaders killed in turn",
    _leaders,
    brokers=3,
    about="kill -9 of the leader of a source partition, of a transaction coordinator, of a group coordinator",
)
PAUSED = Scenario(
    "one broker of three paused", _paused, brokers=3, may_end=True, about="SIGSTOP of a broker for 12 s, then SIGCONT"
)
REFUSED = Scenario(
    "produce refused",
    _refused,
    resumed_s=BACK_WITHIN_S,
    about="for 8 s the broker refuses every verdict (too few copies in sync)",
)
