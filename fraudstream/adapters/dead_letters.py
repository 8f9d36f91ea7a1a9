"""Dead letters on a broker: read, and put back on the topics they came from, each once.

What is put back and the marker that says so are written in one Kafka transaction, so a run that is killed leaves both
or neither. A run begins by fencing the one before it and reading the markers; only then it sends.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError, ProducerFenced

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments
from fraudstream.adapters.kafka_topics import describe_topics
from fraudstream.adapters.topic_reader import read_topic
from fraudstream.dead_letter import NOWHERE, REPLAYED_HEADER, KeptLetter, kept_letter, place_of
from fraudstream.errors import BrokerError, Fenced, TopicError, said
from fraudstream.settings import Settings
from fraudstream.topics import FoundTopic, judged_topic, replayed_topic

START_TIMEOUT_S = 30.0
LETTERS_PER_COMMIT = 500
BYTES_PER_COMMIT = 4 * 1024 * 1024
BATCH_BYTES = 1024 * 1024
LARGEST_REQUEST_BYTES = 256 * 1024 * 1024
"""What the client may send at once; what a topic takes is for its max.message.bytes to say."""
FRAMING_BYTES = 256
"""What a record batch adds to key and value, with the one header of a replay."""


@dataclass(slots=True)
class ReplayPlan:
    """What a replay would do.

    Attributes:
        ready: marker of each letter that is to be put back.
        by_topic_and_reason: how many of them.
        already: letters that an earlier run has put back.
        refused: place and why, of each letter that cannot be put back.
    """

    ready: set[bytes] = field(default_factory=set)
    by_topic_and_reason: Counter[tuple[str, str]] = field(default_factory=Counter)
    already: int = 0
    refused: dict[str, str] = field(default_factory=dict)


async def read_dead_letters(
    settings: Settings, bootstrap: str, start: tuple[int, int] | None = None
) -> AsyncGenerator[KeptLetter, None]:
    """Every committed dead letter, partition by partition in their order.

    Args:
        start: a partition and an offset: that partition alone, from there on. None: everything.

    Raises:
        BrokerError, TopicError: as `read_topic`.
    """
    async with aclosing(read_topic(settings, bootstrap, settings.dead_letters_topic, start)) as records:
        async for record in records:
            place = place_of(record.topic, record.partition, record.offset)
            yield kept_letter(place, record.timestamp, record.key, record.value, record.headers)


async def plan_replay(settings: Settings, bootstrap: str, is_wanted: Callable[[KeptLetter], bool]) -> ReplayPlan:
    """Looks at all dead letters and says which of the wanted ones can be put back; changes nothing.

    Raises:
        BrokerError: the broker cannot be reached or stops answering.
        TopicError: the topic of dead letters or that of markers is missing.
    """
    plan, replayed = ReplayPlan(), await _replayed(settings, bootstrap)
    sources = await describe_topics(settings, bootstrap, _sources(settings))
    async with aclosing(read_dead_letters(settings, bootstrap)) as letters:
        async for kept in letters:
            if not is_wanted(kept):
                continue
            if marker(kept) in replayed:
                plan.already += 1
                continue
            why_not = _why_not(settings, kept, sources)
            if why_not is None and kept.cut_from_bytes is not None:
                why_not = None if await _original(settings, bootstrap, kept) is not None else _lost(kept)
            if why_not is None:
                plan.ready.add(marker(kept))
                plan.by_topic_and_reason[kept.letter.topic, kept.letter.reason] += 1
            else:
                plan.refused[kept.place] = why_not
    return plan


async def replay(settings: Settings, bootstrap: str, plan: ReplayPlan, advance: Callable[[int], None]) -> int:
    """Puts the planned letters back, each once, however often this runs; returns how many this run has put back.

    Args:
        advance: told how many are done.

    Raises:
        Fenced: another replay has begun meanwhile.
        BrokerError: the broker refuses or does not answer; what was committed stays, the next run goes on after it.
    """
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"{settings.app_id}-dead-letters-replay",
        max_batch_size=BATCH_BYTES,
        max_request_size=LARGEST_REQUEST_BYTES,
        **kafka_arguments(settings),
    )
    try:
        with collected_log():
            async with asyncio.timeout(START_TIMEOUT_S):
                await producer.start()
            # Only now: an earlier run is fenced and what it left open is committed or aborted.
            left = plan.ready - await _replayed(settings, bootstrap)
            return await _put_back(settings, bootstrap, producer, left, advance)
    except ProducerFenced:
        raise Fenced(
            "another replay of dead letters has begun, this one stops; nothing was sent twice, and what is left is "
            "for the other one, or for the next run"
        ) from None
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"expected the broker to take replayed messages, got: {said(error)}; what was committed is not sent again: "
            "run the same command once more"
        ) from None
    finally:
        await producer.stop()


async def told_once(work: Awaitable[int]) -> int:
    """The client's own futures fail with the one that is reported; asyncio would tell of each that nobody looked."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), KafkaError):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(handle)
    return await work


async def _put_back(
    settings: Settings, bootstrap: str, producer: Any, left: set[bytes], advance: Callable[[int], None]
) -> int:
    done, batch, size = 0, list[tuple[KeptLetter, bytes | None]](), 0
    async with aclosing(read_dead_letters(settings, bootstrap)) as letters:
        async for kept in letters:
            if marker(kept) not in left:
                continue
            value = kept.letter.value
            if kept.cut_from_bytes is not None and (value := await _original(settings, bootstrap, kept)) is None:
                continue  # it was deleted since the plan was made; the next plan says so
            batch.append((kept, value))
            size += len(value or b"")
            if len(batch) >= LETTERS_PER_COMMIT or size >= BYTES_PER_COMMIT:
                await _commit(settings, producer, batch)
                done += len(batch)
                advance(done)
                batch, size = [], 0
    if batch:
        await _commit(settings, producer, batch)
    return done + len(batch)


async def _commit(settings: Settings, producer: Any, batch: list[tuple[KeptLetter, bytes | None]]) -> None:
    async with producer.transaction():
        sent = []
        for kept, value in batch:
            # The letter's own time, not now: where a transaction names no time, this is when the payment happened.
            sent.append(
                await producer.send(
                    kept.letter.topic,
                    value,
                    key=kept.letter.key,
                    timestamp_ms=kept.time_ms,
                    headers=[(REPLAYED_HEADER, kept.place.encode())],
                )
            )
            sent.append(await producer.send(replayed_topic(settings), b"replayed", key=marker(kept)))
        await asyncio.gather(*sent)


def marker(kept: KeptLetter) -> bytes:
    """What says that a letter was put back: its place, and enough to know that this is still the letter that lay there.

    A topic that was deleted and made again begins with the same places.
    """
    return f"{kept.place} of {kept.origin} at {kept.time_ms}".encode()


async def _replayed(settings: Settings, bootstrap: str) -> set[bytes]:
    async with aclosing(read_topic(settings, bootstrap, replayed_topic(settings))) as records:
        return {record.key async for record in records}


def _sources(settings: Settings) -> tuple[str, ...]:
    """Topics that take messages back: verdicts are the workers' alone, each of them is there exactly once."""
    return (*dict.fromkeys((settings.transactions_topic, judged_topic(settings))), settings.labels_topic)


def _why_not(settings: Settings, kept: KeptLetter, sources: Mapping[str, FoundTopic]) -> str | None:
    """Why a letter cannot be put back, leaving aside that it may be cut; None: it can."""
    letter = kept.letter
    if NOWHERE in (letter.partition, letter.offset):
        return "its headers do not say where it came from"
    if letter.key is None and letter.value is None:
        return "it has neither key nor value"
    if letter.topic not in _sources(settings):
        return f"it came from {letter.topic}; only what came from {' or '.join(_sources(settings))} is put back"
    found = sources.get(letter.topic)
    if found is None:
        return f"topic {letter.topic} does not exist"
    config = found.config or {}
    kept_ms, most_bytes = int(config.get("retention.ms", -1)), int(config.get("max.message.bytes", -1))
    if 0 <= kept_ms < time.time() * 1000 - kept.time_ms:
        return (
            f"it is older than topic {letter.topic} keeps messages (retention.ms={kept_ms}) and could be deleted "
            "before it is judged; raise that for as long as the replay lasts"
        )
    size = (kept.cut_from_bytes or len(letter.value or b"")) + len(letter.key or b"") + FRAMING_BYTES
    if 0 <= most_bytes < size:
        return f"it has {size:,} bytes, topic {letter.topic} takes {most_bytes:,} (max.message.bytes); raise that"
    return None


async def _original(settings: Settings, bootstrap: str, kept: KeptLetter) -> bytes | None:
    """The whole value of a letter that was cut, from where it came from; None where that is gone."""
    letter = kept.letter
    try:
        async with aclosing(
            read_topic(settings, bootstrap, letter.topic, (letter.partition, letter.offset))
        ) as records:
            async for record in records:
                value = record.value or b""
                is_it = record.offset == letter.offset and len(value) == kept.cut_from_bytes
                return value if is_it and value.startswith(letter.value or b"") else None
    except TopicError:
        return None
    return None


def _lost(kept: KeptLetter) -> str:
    return (
        f"it is cut ({len(kept.letter.value or b''):,} of {kept.cut_from_bytes:,} bytes are kept) and its original at "
        f"{kept.origin} is gone"
    )
