"""The judge of a worker: a plain Kafka client and the naive oracle; shares no code with agents/ or tables/.

It knows what was produced, reads what came out, and says in words what was lost, repeated or contradicted, and whose
state is not what a list of everything that happened gives.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rocksdict
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from fraudstream.state.profile import view
from fraudstream.transaction import decode_transaction
from tests.oracle.naive_profile import Event, NaiveProfile
from tests.plain_pack import pack_one

IDLE_S = 20.0
POLL_S = 0.05
SHOWN = 3
_FAUST_KEYS = b"__faust"

UserState = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message and where the broker put it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


async def until(holds: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
    """Waits until something holds, or fails saying what did not."""
    deadline = time.monotonic() + within_s
    while True:
        if await holds():
            return
        assert time.monotonic() < deadline, f"expected within {within_s:.0f} s: {what}"
        await asyncio.sleep(POLL_S)


async def produce(
    producer: AIOKafkaProducer, topic: str, messages: Iterable[tuple[bytes | None, bytes | None]]
) -> list[Sent]:
    """Sends messages in their order and waits until the broker has them."""
    rows = list(messages)
    now_ms = int(time.time() * 1000)  # told, not asked back: the embedded broker answers with a made-up time
    futures = [await producer.send(topic, value, key=key, timestamp_ms=now_ms) for key, value in rows]
    placed = await asyncio.gather(*futures)
    return [
        Sent(where.partition, where.offset, now_ms, key, value)
        for where, (key, value) in zip(placed, rows, strict=True)
    ]


def ordered_producer(bootstrap: str) -> AIOKafkaProducer:
    """A producer that keeps the order of what it sends, also when it has to send again."""
    return AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, max_request_size=2**21)


async def read_topic(bootstrap: str, topic: str, isolation: str = "read_committed") -> list[Any]:
    """All records of a topic up to its end as it is now, for a reader of this isolation level."""
    # "earliest" and not a seek to the beginning: a reset to the end that is already under way would undo that.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
    )
    async with consumer:
        partitions = await _partitions_of(consumer, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        async with asyncio.timeout(IDLE_S * 3):
            while waiting := [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
                for batch in (await consumer.getmany(*waiting, timeout_ms=500)).values():
                    records += batch
        return records


async def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends, aborted records and markers counted."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        ends = await consumer.end_offsets(await _partitions_of(consumer, topic))
        return {tp.partition: int(end) for tp, end in ends.items()}


async def committed_offsets(bootstrap: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """The offsets that a consumer group goes on from, -1 where it committed none."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    async with consumer:
        found = {number: await consumer.committed(TopicPartition(topic, number)) for number in range(partitions)}
        return {number: -1 if offset is None else int(offset) for number, offset in found.items()}


async def _partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer._client.force_metadata_update()
    async with asyncio.timeout(IDLE_S):
        while not (numbers := consumer.partitions_for_topic(topic)):  # None or empty until it is known
            consumer._client.add_topic(topic)
            await asyncio.sleep(0.05)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


# Verdicts


@dataclass(slots=True)
class Verdicts:
    """Verdicts as a reader saw them, by transaction."""

    by_id: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, records: Iterable[Any]) -> int:
        """Takes records of the verdicts topic; returns how many."""
        count = 0
        for record in records:
            self.by_id.setdefault(json.loads(record.value)["transaction_id"], []).append(record.value)
            count += 1
        return count

    def lost(self, expected: Iterable[str]) -> list[str]:
        """Transactions without a verdict."""
        return [each for each in expected if each not in self.by_id]

    def unasked(self, expected: Iterable[str]) -> list[str]:
        """Verdicts on transactions that nobody sent."""
        return sorted(self.by_id.keys() - set(expected))

    def repeated(self) -> list[str]:
        """Transactions with more than one verdict."""
        return [each for each, values in self.by_id.items() if len(values) > 1]

    def contradictory(self) -> list[str]:
        """Transactions whose verdicts differ in any byte."""
        return [each for each, values in self.by_id.items() if len(set(values)) > 1]


async def verdicts_of(bootstrap: str, topic: str, isolation: str = "read_committed") -> Verdicts:
    """Every verdict that a reader of this isolation level sees."""
    seen = Verdicts()
    seen.add(await read_topic(bootstrap, topic, isolation))
    return seen


def assert_each_once(verdicts: Verdicts, expected: Sequence[str]) -> None:
    """Each expected transaction has one verdict, and nothing else has any."""
    assert max(Counter(expected).values()) == 1, "a transaction_id was sent twice: this check would be blind"
    lost, repeated, unasked = verdicts.lost(expected), verdicts.repeated(), verdicts.unasked(expected)
    assert not lost, f"{len(lost)} of {len(expected)} transactions have no verdict, such as {lost[:SHOWN]}"
    assert not repeated, f"{len(repeated)} transactions have more than one verdict, such as {repeated[:SHOWN]}"
    assert not unasked, f"{len(unasked)} verdicts on transactions that nobody sent, such as {unasked[:SHOWN]}"


# State


class _LongLife(NaiveProfile):
    """The naive profile for lives of hundreds of events: the newest event is the last one kept, so no search for it."""

    @property
    def newest(self) -> int:
        return self.kept[-1].time if self.kept else 0


def states_by_oracle(sent: Iterable[Sent], lateness_s: int) -> dict[bytes, UserState]:
    """What each user's state must be after these transactions, each of which can be scored."""
    profiles: dict[bytes, _LongLife] = {}
    for each in sorted(sent, key=lambda message: (message.partition, message.offset)):
        transaction = decode_transaction(each.value)
        time_s = transaction.time_s(each.timestamp_ms / 1000)
        profile = profiles.setdefault(each.key or b"", _LongLife(lateness_s))
        profile.remember(Event.of(pack_one(transaction, time_s)), each.offset)
    return {user: _state_of_oracle(profile) for user, profile in profiles.items()}


def _state_of_oracle(profile: NaiveProfile) -> UserState:
    hours = Counter(event.hour for event in profile.stored)
    return {
        "count": len(profile.stored),
        "cents": sum(event.cents for event in profile.stored),
        "newest": profile.newest,
        "first": min(event.time for event in profile.stored),
        "floor": profile.floor,
        "offset": profile.offset,
        "hours": [hours[hour] for hour in range(24)],
        "kept": [_words(event) for event in profile.kept],
    }


def _words(event: Event) -> list[int]:
    low, high = event.identity
    labels = event.category << 16 | event.location
    return [event.time, event.cents, event.merchant, low, high, labels, event.device, event.place]


def state_of_record(record: bytes) -> UserState:
    """A stored profile in the oracle's terms."""
    profile = view(record)
    assert profile is not None, "an empty profile was stored"
    return {
        "count": profile.count,
        "cents": round(profile.amount_sum * 100),
        "newest": profile.newest_s,
        "first": profile.first_s,
        "floor": profile.floor_s,
        "offset": profile.source_offset,
        "hours": list(profile.hours),
        "kept": profile.events.tolist(),
    }


async def states_by_changelog(bootstrap: str, changelog: str) -> dict[bytes, UserState]:
    """The last committed state of each user."""
    last: dict[bytes, bytes] = {}
    for record in await read_topic(bootstrap, changelog):
        last[record.key] = record.value
    return {user: state_of_record(record) for user, record in last.items()}


def states_by_rocksdb(directory: Any) -> dict[bytes, UserState]:
    """The state of each user in the files of a worker that has stopped (its DATA_DIR)."""
    states: dict[bytes, UserState] = {}
    databases = sorted(directory.glob("v1/tables/profiles-*.db"))
    assert databases, f"no database below {directory}"
    for path in databases:
        database = rocksdict.Rdict(str(path), options=rocksdict.Options(raw_mode=True))
        try:
            items: Iterable[tuple[Any, Any]] = database.items()
            for user, record in items:
                if not user.startswith(_FAUST_KEYS):
                    assert user not in states, f"user {user!r} has a profile in two partitions"
                    states[user] = state_of_record(record)
        finally:
            database.close()
    return states


def assert_states_equal(found: Mapping[bytes, UserState], expected: Mapping[bytes, UserState]) -> None:
    """Every user's state is the oracle's, in every field."""
    assert found.keys() == expected.keys(), (
        f"users without a profile: {sorted(expected.keys() - found.keys())[:SHOWN]}, "
        f"profiles of nobody: {sorted(found.keys() - expected.keys())[:SHOWN]}"
    )
    wrong = {
        user: {name: (found[user][name], state[name]) for name in state if found[user][name] != state[name]}
        for user, state in expected.items()
        if found[user] != state
    }
    shown = [(user, {name: str(pair)[:200] for name, pair in wrong[user].items()}) for user in list(wrong)[:SHOWN]]
    assert not wrong, f"{len(wrong)} of {len(expected)} users have another state (found, expected), such as {shown}"
