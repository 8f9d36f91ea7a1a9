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
ENDED_WITHIN_S = 60.0
MIB = 1024 * 1024


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


async def _too_few_copies(bed: Bed) -> None:
    """Verdicts want all three copies in sync, and a broker dies: each is refused until it is back."""
    await asyncio.to_thread(_configure, bed, "min.insync.replicas", "3")
    broker = bed.chance.randint(1, 3)
    bed.cluster.kill(broker)
    await asyncio.sleep(15.0)
    await asyncio.to_thread(bed.cluster.revive, broker)
    bed.mark("back")
    await asyncio.sleep(BACK_WITHIN_S + STEADY_S)


async def _too_large(bed: Bed) -> None:
    """The topic takes no batch any more, for good; until somebody mends it."""
    await asyncio.to_thread(_configure, bed, "max.message.bytes", "100")

    async def have_ended() -> bool:
        return bed.exits.total() >= len(bed.workers)

    await bed.until(have_ended, ENDED_WITHIN_S, "each worker to end, because the broker refuses what it sends")
    await asyncio.to_thread(_configure, bed, "max.message.bytes", str(MIB))
    await bed.until_shared()
    await asyncio.sleep(STEADY_S)


def _configure(bed: Bed, name: str, value: str) -> None:
    """Sets an option of the topics of verdicts and alerts."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    topics = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for topic in (bed.settings.verdicts_topic, bed.settings.alerts_topic)
    ]
    admin = AdminClient({"bootstrap.servers": bed.cluster.bootstrap, "log_level": 0})  # its answers die with it
    for changed in admin.incremental_alter_configs(topics).values():
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
TOO_FEW_COPIES = Scenario(
    "verdicts refused for a while",
    _too_few_copies,
    brokers=3,
    resumed_s=BACK_WITHIN_S,
    about="every verdict must have three copies and a broker is away: refused with a retriable error",
)
TOO_LARGE = Scenario(
    "verdicts refused for good",
    _too_large,
    may_end=True,
    about="the broker refuses every batch of verdicts as too large, until the topic is mended: workers end and say so",
)
