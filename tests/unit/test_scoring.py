"""The checkpoint's border: what is committed together belongs together, however fast the next chunk comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.record_batches import PackedBatch
from fraudstream.agents.batch_metrics import BatchMetrics
from fraudstream.agents.producers import Message, Producers
from fraudstream.agents.scoring import LOOP_TURNS, Scoring
from fraudstream.detector import load_detector
from fraudstream.errors import BrokerError
from fraudstream.pipeline import Detector, Outcome
from fraudstream.settings import load_settings
from fraudstream.state.profile import view
from fraudstream.tables.profiles import Profiles
from fraudstream.tables.store import ProfileStore
from fraudstream.wire.records import FetchedBatch
from tests.fetched import fetched_batch
from tests.unit.test_pipeline import START_S, message

PARTITIONS = 2


class LedgerProducer:
    """Stands for one partition's transactional producer and writes down what commits together."""

    def __init__(self, commit_s: float = 0.01) -> None:
        self._commit_s = commit_s
        self.open: list[bytes] = []
        self.commits: list[tuple[list[bytes], list[tuple[bytes, bytes]], int]] = []

    async def send_batch(self, topic: str, batch: PackedBatch) -> None:
        if topic == "verdicts":
            self.open += [record.value or b"" for record in DefaultRecordBatch(bytes(batch._build()))]

    async def send(self, topic: str, messages: Sequence[Message]) -> list[Any]:
        assert topic == "dead-letters"
        return []

    async def commit(self, changelog: str, profiles: Sequence[tuple[bytes, bytes]], next_offset: int) -> int:
        verdicts, self.open = self.open, []
        await asyncio.sleep(self._commit_s)  # a commit takes its time: the next chunk is judged meanwhile
        self.commits.append((verdicts, list(profiles), next_offset))
        return next_offset


class LedgerProducers(dict[int, LedgerProducer]):
    def owned(self) -> set[int]:
        return set(self)


class MemoryStore:
    """What the local disk holds, in a dict."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, bytes], bytes] = {}

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self.held.get((partition, key))

    def write(self, partition: int, items: Sequence[tuple[bytes, bytes]], changelog_offset: int) -> None:
        self.held.update({(partition, key): value for key, value in items})


@dataclass(frozen=True)
class Chunk:
    value: list[FetchedBatch]

    @property
    def message(self) -> FetchedBatch:
        return self.value[-1]


def chunk_of(at: int) -> Chunk:
    messages = [
        message(offset, f"u{offset % 3}{at % PARTITIONS}", partition=at % PARTITIONS, timestamp=START_S + offset)
        for offset in range(at * 10, at * 10 + 10)
    ]
    return Chunk([fetched_batch(messages)])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(load_settings())


def scoring_of(detector: Detector, producers: LedgerProducers, store: MemoryStore) -> Scoring:
    return Scoring(
        load_settings(checkpoint_interval_s=0.02),
        detector,
        Profiles(cast(ProfileStore, store), 4),
        cast(Producers, producers),
        BatchMetrics(Metrics()),
    )


@pytest.mark.parametrize("seed", range(4))
async def test_profiles_verdicts_and_offsets_of_a_commit_belong_together(detector: Detector, seed: int) -> None:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    store = MemoryStore()
    scoring = scoring_of(detector, producers, store)
    acked: list[int] = []

    async def ack(chunk: Any) -> None:
        acked.append(chunk.message.offset)

    scoring.ack = ack
    chunks = [chunk_of(at) for at in range(40)]
    for at, chunk in enumerate(chunks):
        scoring.hand_over(chunk)
        await scoring.take()  # mostly without ever letting the loop go in between
        if (at + seed) % 7 == 0:
            await asyncio.sleep(0.03)
    await scoring.settle()
    for number, producer in producers.items():
        assert_commits_are_whole(producer, sum(c.message.count for c in chunks if c.message.partition == number))
    assert acked == [chunk.message.offset for chunk in chunks]
    committed = {
        (number, key): record
        for number, producer in producers.items()
        for _, profiles, _ in producer.commits
        for key, record in profiles
    }
    assert store.held == committed


@pytest.mark.parametrize(("commit_s", "most"), [(0.001, 60), (0.1, 3)])
async def test_checkpoints_take_no_more_than_their_share_of_the_time(
    detector: Detector, commit_s: float, most: int
) -> None:
    producer = LedgerProducer(commit_s)
    scoring = scoring_of(detector, LedgerProducers({0: producer}), MemoryStore())
    started_s = time.monotonic()
    for at in count(0, PARTITIONS):
        scoring.hand_over(chunk_of(at))
        await scoring.take()
        await asyncio.sleep(0.002)
        if time.monotonic() - started_s > 1.0:
            break
    assert most / 4 <= len(producer.commits) <= most
    await scoring.settle()
    assert_commits_are_whole(producer, 10 * (at // PARTITIONS + 1))


def assert_commits_are_whole(producer: LedgerProducer, transactions: int) -> None:
    assert len(producer.commits) > 1
    assert sum(len(verdicts) for verdicts, _, _ in producer.commits) == transactions
    for _, profiles, next_offset in producer.commits:
        for _, record in profiles:
            seen = view(record)
            assert seen is not None
            assert seen.source_offset < next_offset, "a profile went ahead of the offset it was committed with"


async def test_chunks_that_wait_while_partitions_move_are_left_to_be_read_again(detector: Detector) -> None:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    store = MemoryStore()
    scoring = scoring_of(detector, producers, store)
    judged, waiting = chunk_of(0), chunk_of(1)
    scoring.hand_over(judged)
    await scoring.take()
    assert scoring.hand_over(waiting) == 1
    await scoring.settle()
    await scoring.take()
    await scoring.settle()
    assert scoring.processed == judged.message.count
    assert [next_offset for _, _, next_offset in producers[0].commits] == [judged.message.offset + 1]
    assert producers[1].commits == []
    assert producers[1].open == []
    # The next owner, here the same worker, reads it again.
    scoring.hand_over(waiting)
    await scoring.take()
    await scoring.settle()
    assert len(producers[1].commits[0][0]) == waiting.message.count


async def test_a_take_that_waits_for_a_settlement_finds_nothing_left(detector: Detector) -> None:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    scoring = scoring_of(detector, producers, MemoryStore())
    scoring.hand_over(chunk_of(0))
    settling = asyncio.create_task(scoring.settle())
    taking = asyncio.create_task(scoring.take())
    await asyncio.gather(settling, taking)
    assert scoring.processed == 0


@pytest.mark.parametrize(("brief_s", "expected"), [(0.0, LOOP_TURNS - 1), (60.0, 0)])
async def test_others_get_the_loop_between_scoring_a_slice_that_takes_its_time_and_telling_of_it(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, brief_s: float, expected: int
) -> None:
    monkeypatch.setattr("fraudstream.agents.scoring.HELD_BRIEFLY_S", brief_s)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    scoring = scoring_of(detector, producers, MemoryStore())
    turns_before: list[int] = []
    scoring._observe = lambda _outcome: turns_before.append(turns)
    scoring.hand_over(chunk_of(0))
    other = asyncio.create_task(others())
    await scoring.take()
    other.cancel()
    await scoring.settle()
    assert turns_before
    assert turns_before[0] >= expected
    assert bool(turns_before[0]) == bool(expected)


async def test_a_page_that_cannot_be_shown_a_batch_does_not_stop_the_judging(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    producers = LedgerProducers({number: LedgerProducer() for number in range(PARTITIONS)})
    scoring = scoring_of(detector, producers, MemoryStore())
    shown: list[Outcome] = []

    def watch(outcome: Outcome, took_s: float) -> None:
        assert took_s > 0
        shown.append(outcome)
        if len(shown) == 2:
            raise ZeroDivisionError

    scoring.watch = watch
    for at in range(4):
        scoring.hand_over(chunk_of(at))
        await scoring.take()
    await scoring.settle()
    assert scoring.processed == 40
    assert len(shown) == 2, "after a fault it is shown no more"
    assert "judging goes on" in caplog.text


class LostProducer(LedgerProducer):
    """Its broker ends transactions for as long as `is_away`."""

    is_away = False

    async def commit(self, changelog: str, profiles: Sequence[tuple[bytes, bytes]], next_offset: int) -> int:
        if self.is_away:
            raise BrokerError("the broker ends a transaction")
        return await super().commit(changelog, profiles, next_offset)


async def test_after_a_lost_transaction_nothing_counts_until_reading_begins_anew(detector: Detector) -> None:
    producer, told = LostProducer(), list[Exception]()
    scoring = scoring_of(detector, LedgerProducers({0: producer, 1: LedgerProducer()}), MemoryStore())
    scoring.on_fault = told.append
    first, lost, meanwhile = chunk_of(0), chunk_of(2), chunk_of(4)
    scoring.hand_over(first)
    await scoring.take()
    await scoring.settle()
    producer.is_away = True
    scoring.hand_over(lost)
    await scoring.take()
    await scoring.settle()
    assert [type(error) for error in told] == [BrokerError]
    assert scoring.is_lost
    scoring.hand_over(meanwhile)
    await scoring.take()
    await scoring.tick()
    await scoring.settle()
    assert scoring.processed == first.message.count + lost.message.count
    assert len(told) == 1, "it asked the broker for more"
    # The group is joined again: fenced, and read from the committed offset.
    producer.is_away, producer.open = False, []
    scoring.begin()
    for chunk in (lost, meanwhile):
        scoring.hand_over(chunk)
        await scoring.take()
    await scoring.settle()
    assert_commits_are_whole(producer, sum(chunk.message.count for chunk in (first, lost, meanwhile)))
