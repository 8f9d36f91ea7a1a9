"""After a lost transaction a worker begins anew once; what does not pass ends it, and so does a topic that has gone."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, cast

import pytest

from fraudstream.agents import outage as room
from fraudstream.agents.outage import Outage
from fraudstream.errors import BrokerError, Fenced
from fraudstream.topics import TopicProblem


class EndedError(Exception):
    """Stands for the end of the process."""


@dataclass
class Worker:
    """What an outage sees of a worker."""

    is_lost: bool = True
    joined: int = 0
    answers: bool = True
    waits_s: float = 0.0
    is_old: bool = False
    ended: int = 0
    misses_source: bool = False
    problems: tuple[TopicProblem, ...] = ()

    @property
    def producers(self) -> Worker:
        return self

    def rejoin(self) -> None:
        self.joined += 1

    def waiting_s(self) -> float:
        return self.waits_s

    def is_too_old(self) -> bool:
        return self.is_old

    def wait_no_longer(self) -> None:
        self.ended += 1

    async def check(self) -> tuple[TopicProblem, ...]:
        if not self.answers:
            raise BrokerError("expected a Kafka broker")
        return self.problems


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    def end(reason: object, *_: object) -> None:
        raise EndedError(reason)

    monkeypatch.setattr(room, "give_up", end)
    monkeypatch.setattr(room, "stop_process", end)
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.01)
    return Worker()


@pytest.fixture
def outage(worker: Worker) -> Outage:
    return Outage([cast(Any, worker)], cast(Any, worker), lambda: worker.misses_source, worker.check)


async def test_the_group_is_joined_again_as_soon_as_a_broker_answers(worker: Worker, outage: Outage) -> None:
    worker.answers = False
    outage.begin_anew(BrokerError("the broker ends a transaction"))
    await asyncio.sleep(0.05)
    assert worker.joined == 0
    worker.answers = True
    await asyncio.sleep(0.05)
    assert worker.joined == 1


async def test_a_rebalance_that_comes_first_is_enough(worker: Worker, outage: Outage) -> None:
    worker.answers = False
    outage.begin_anew(BrokerError("the broker ends a transaction"))
    await asyncio.sleep(0.02)
    worker.is_lost, worker.answers = False, True
    await asyncio.sleep(0.05)
    assert worker.joined == 0


async def test_a_fault_that_comes_again_at_once_ends_the_process_and_so_does_a_successor(
    worker: Worker, outage: Outage
) -> None:
    with pytest.raises(EndedError):
        outage.begin_anew(Fenced("another worker has taken over"))
    outage.begin_anew(BrokerError("too large"))
    with pytest.raises(EndedError, match="too large"):
        outage.begin_anew(BrokerError("too large"))


async def test_two_senders_that_lose_by_one_outage_begin_anew_together(worker: Worker) -> None:
    other = Worker(is_lost=False)
    outage = Outage([cast(Any, worker), cast(Any, other)], cast(Any, worker), lambda: False, worker.check)
    outage.begin_anew(BrokerError("the broker ends a transaction"))
    other.is_lost = True
    outage.begin_anew(BrokerError("the broker ends another one"))
    await asyncio.sleep(0.05)
    assert worker.joined == 1
    with pytest.raises(EndedError):
        outage.begin_anew(Fenced("another worker has taken over"))
    worker.is_lost = False
    with pytest.raises(EndedError, match="too large"):
        outage.begin_anew(BrokerError("too large"))


async def test_each_of_two_senders_is_watched(worker: Worker) -> None:
    other = Worker(is_old=True)
    outage = Outage([cast(Any, worker), cast(Any, other)], cast(Any, worker), lambda: False, worker.check)
    await outage.look()
    assert (worker.ended, other.ended) == (0, 1)


async def test_a_topic_that_has_gone_is_not_waited_for(worker: Worker, outage: Outage) -> None:
    worker.waits_s, worker.problems = 6.0, (TopicProblem("verdicts", "missing", "create it"),)
    with pytest.raises(EndedError, match="topic verdicts: missing; create it"):
        await outage.look()
    worker.waits_s, worker.misses_source = 0.0, True
    with pytest.raises(EndedError, match="topic verdicts: missing; create it"):
        await outage.look()


async def test_a_transaction_that_the_broker_will_end_is_waited_for_only_while_no_broker_answers(
    worker: Worker, outage: Outage
) -> None:
    worker.waits_s, worker.answers = 31.0, False
    for is_old, answers, ended in ((False, False, 0), (True, False, 0), (False, True, 0), (True, True, 1)):
        worker.is_old, worker.answers = is_old, answers
        await outage.look()
        assert worker.ended == ended


async def test_an_outage_is_told_when_it_begins_now_and_then_and_when_it_is_over(
    worker: Worker, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, room.__name__)
    for waits_s in (0.0, 1.0, *range(2, 71), 0.5, 0.0):
        worker.waits_s = float(waits_s)
        await outage.look()
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "Kafka has taken nothing for 6 s",
        "Kafka has taken nothing for 37 s",
        "Kafka has taken nothing for 68 s",
        "Kafka takes again what is sent, after 70 s",
    ]
