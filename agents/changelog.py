"""Reads the changelog of profiles: only what was committed, and never in silence less than was written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiokafka
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings
from fraudstream.tables.store import ProfileStore

FETCH_TIMEOUT_MS = 500
FETCH_BYTES = 2 * 1024 * 1024
"""Of each partition at a time: the client copies what comes several times, and four times as much no longer fits into
the processor's cache, which costs a third more CPU a record."""

NOT_WHOLE = (
    "start on a DATA_DIR that has them, of the partition's last owner or a standby, or fill new topics by `fraudstream "
    "backfill` (docs/operations.md, Backup and restore); the topic needs cleanup.policy=compact and nothing else"
)


@asynccontextmanager
async def changelog_reader(settings: Settings, bootstrap: str) -> AsyncIterator[Any]:
    """A consumer outside any group that sees only what was committed, and that never jumps over what is missing."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
        **kafka_arguments(settings),
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def first_missing_offsets(
    consumer: Any, store: ProfileStore, tps: Iterable[TopicPartition], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Where to go on reading each changelog partition, after what the store has.

    Compaction leaves the start of a log where it is, so a log that begins later has lost records to a retention or to
    somebody's hand, the newest ones of some users among them.

    Raises:
        BrokerError: the store has seen more than the changelog holds, or the changelog lacks what the store needs.
    """
    firsts: dict[TopicPartition, int] = await consumer.beginning_offsets(list(tps))
    starts = dict[TopicPartition, int]()
    for tp, first in firsts.items():
        have = store.persisted_offset(tp)
        if have is not None and have >= ends[tp]:
            raise BrokerError(
                f"expected the changelog {tp.topic} partition {tp.partition} to reach offset {have}, which the "
                f"local store has seen, got an end of {ends[tp]}: the topic was deleted and made anew, or "
                "DATA_DIR belongs to another cluster; empty DATA_DIR or name another one"
            )
        starts[tp] = 0 if have is None else have + 1
        if first > starts[tp]:
            raise _deleted(tp, starts[tp], first)
    return starts


async def fetch(
    consumer: Any, tps: Collection[TopicPartition], max_records: int | None = None
) -> Mapping[TopicPartition, list[Any]]:
    """The next records of some partitions, none where none come soon.

    Raises:
        BrokerError: what comes next was deleted, or cannot be read.
        KafkaError: as the client says; asking again may help.
    """
    try:
        fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(
            *tps, timeout_ms=FETCH_TIMEOUT_MS, max_records=max_records
        )
    except OffsetOutOfRangeError as error:
        ((tp, wanted),) = error.args[0].items()
        firsts = await consumer.beginning_offsets([tp])
        raise _deleted(tp, wanted, firsts[tp]) from error
    except CorruptRecordException as error:
        told = str(error)
        tp, offset = await _first_unreadable(consumer, sorted(tps, key=lambda tp: str(tp) not in told))
        raise BrokerError(
            f"expected to read the changelog {tp.topic} partition {tp.partition} at offset {offset}, got a batch of "
            "records whose checksum is wrong: the copy of its leader is damaged; let a replica that is whole lead "
            "(stop the leader, remove its folder of the partition, start it: it copies), then start the worker "
            f"again; where no copy is whole, {NOT_WHOLE}"
        ) from error
    return fetched


def _deleted(tp: TopicPartition, wanted: int, first: int) -> BrokerError:
    return BrokerError(
        f"expected the changelog {tp.topic} partition {tp.partition} to hold what was written from offset {wanted} on, "
        f"got a log that begins at {first}: records were deleted, and the profiles in them are not on this disk; "
        f"{NOT_WHOLE}"
    )


async def _first_unreadable(consumer: Any, tps: Sequence[TopicPartition]) -> tuple[TopicPartition, int]:
    """Where reading fails: record by record, because a fetch that fails tells neither partition nor offset."""
    for tp in tps:
        try:
            while await consumer.getmany(tp, timeout_ms=FETCH_TIMEOUT_MS, max_records=1):
                continue
        except CorruptRecordException:
            return tp, await consumer.position(tp)
    return tps[0], await consumer.position(tps[0])
