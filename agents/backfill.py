"""Writes finished profiles where workers restore them from, by the workers' own producers: other writers are fenced.

Only on a system that has never judged: no worker lives, no profile is there. All partitions are written first and
committed at the end, so that a failure in between leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition

from fraudstream.adapters.consumer_group import live_members
from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, unreachable
from fraudstream.adapters.kafka_topics import check_topics
from fraudstream.adapters.topic_reader import read_topic
from fraudstream.agents.producers import Producers, group_by_partition
from fraudstream.errors import BrokerError, Fenced, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import changelog_topic, judged_topic, worker_topics

LONGEST_WRITE_S = 840.0
"""One transaction holds a whole partition; with the producers' own margin it stays below the broker's 15 minutes."""
SEND_PROFILES = 1_000
START_TIMEOUT_S = 15.0
SAMPLED_KEYS = 200

KeyAndRecord = tuple[bytes, bytes]
_choose = DefaultPartitioner()


async def require_untouched(settings: Settings, bootstrap: str) -> None:
    """Checks that profiles may be filled: topics are right, no worker lives, and no profile is there.

    Raises:
        TopicError: topics are missing or wrong, profiles are there already, or producers use another partitioner.
        BrokerError: the broker cannot be reached, or a worker is alive.
    """
    problems = await check_topics(settings, bootstrap, worker_topics(settings))
    if problems:
        raise TopicError("; ".join(map(str, problems)))
    members = await live_members(settings, bootstrap)
    if members:
        raise BrokerError(
            f"expected no worker of the group {settings.app_id}, got {len(members)} ({', '.join(members)}): stop them "
            "all first, or set another APP_ID; one that was killed leaves the group after KAFKA_SESSION_TIMEOUT_S"
        )
    await _require_no_profiles(settings, bootstrap)
    if settings.keying == "strict":
        await _require_partitioner(settings, bootstrap)


async def write_profiles(
    settings: Settings,
    bootstrap: str,
    profiles: Iterable[Sequence[KeyAndRecord]],
    written: Callable[[int], None] | None = None,
) -> int:
    """Writes each user's profile to the changelog partition of the user's key, all of them or none.

    Args:
        settings: whose workers will restore them.
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        profiles: message keys and records without source offset, some at a time.
        written: told how many are written so far.

    Returns:
        How many were written.

    Raises:
        Fenced: a worker started meanwhile.
        BrokerError: the broker refuses or does not answer.
    """
    partitions = list(range(settings.topic_partitions))
    topic, count = changelog_topic(settings), 0
    async with _reader(settings, bootstrap) as reader:
        starts = await _source_offsets(settings, reader)
    producers = Producers(settings.model_copy(update={"checkpoint_interval_s": LONGEST_WRITE_S}), bootstrap)
    try:
        await producers.take_over(set(partitions))
        for some in profiles:
            for at in range(0, len(some), SEND_PROFILES):
                part = some[at : at + SEND_PROFILES]
                placed = group_by_partition(
                    (int(_choose(key, partitions, partitions)), (key, record, [])) for key, record in part
                )
                for partition, messages in placed.items():
                    await producers[partition].send(topic, messages)
                count += len(part)
                if written is not None:
                    written(count)
        await _commit_all(producers, topic, starts)
    finally:
        await producers.stop()
    return count


async def _commit_all(producers: Producers, topic: str, starts: dict[int, int]) -> None:
    """One commit after the other: a broker that is lost now is the one thing that leaves some partitions without."""
    done: list[int] = []
    try:
        for partition, start in starts.items():
            await producers[partition].commit(topic, (), start)
            done.append(partition)
    except (BrokerError, Fenced) as error:
        if not done:
            raise
        raise BrokerError(
            f"expected all partitions of {topic} to be committed, only {done} were ({error}); delete this topic and "
            "create it again with `fraudstream topics create` before the next attempt"
        ) from error


async def _source_offsets(settings: Settings, reader: Any) -> dict[int, int]:
    """Where workers begin to read each partition; the commit says it again, for it goes with an offset."""
    sources = [TopicPartition(judged_topic(settings), number) for number in range(settings.topic_partitions)]
    firsts = await reader.beginning_offsets(sources)
    committed = {tp: await reader.committed(tp) for tp in sources}
    return {tp.partition: int(firsts[tp] if committed[tp] is None else committed[tp]) for tp in sources}


async def _require_no_profiles(settings: Settings, bootstrap: str) -> None:
    topic = changelog_topic(settings)
    async with aclosing(read_topic(settings, bootstrap, topic)) as records:
        async for record in records:
            raise TopicError(
                f"topic {topic}: expected no profiles, got one of {record.key!r} in partition {record.partition}: a "
                "worker or an earlier backfill has written it, and merging would count transactions twice; to begin "
                "anew, stop the workers, delete the topic, run `fraudstream topics create`, empty each DATA_DIR; or "
                "set another APP_ID"
            )


async def _require_partitioner(settings: Settings, bootstrap: str) -> None:
    """A profile in another partition than its user's transactions would never be found."""
    topic, partitions = settings.transactions_topic, list(range(settings.topic_partitions))
    seen = 0
    async with aclosing(read_topic(settings, bootstrap, topic)) as records:
        async for record in records:
            if record.key is None:
                continue
            expected = int(_choose(record.key, partitions, partitions))
            if expected != record.partition:
                raise TopicError(
                    f"topic {topic}: expected keys in the partition that Kafka's default partitioner (murmur2) "
                    f"chooses, got key {record.key[:60]!r} in partition {record.partition} instead of {expected}: "
                    "profiles would wait where their users never come; let all producers use murmur2 (librdkafka: "
                    "partitioner=murmur2_random), on a new topic"
                )
            seen += 1
            if seen >= SAMPLED_KEYS:
                return


@asynccontextmanager
async def _reader(settings: Settings, bootstrap: str) -> AsyncIterator[Any]:
    """A consumer of what is committed; it joins no group, and sees the offsets of the workers'."""
    reader = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=settings.app_id,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
        **kafka_arguments(settings),
    )
    with collected_log() as said:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await reader.start()
            yield reader
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
        finally:
            await reader.stop()
