"""An outage does not fill the log: the clients' complaints are told once in a while, all else at once."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka.conn import create_conn
from aiokafka.errors import ProducerFenced

from fraudstream.adapters.kafka_client import collected_log
from fraudstream.agents import kafka_log
from fraudstream.agents.kafka_log import NotOfTheClients, OnceInAWhile
from tests.servers.ports import free_port


def record(level: int, text: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord("aiokafka.client", level, __file__, 1, text, arguments, exc_info)


def test_a_complaint_is_told_once_in_a_while_with_the_number_of_those_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock_s)
    once, text = OnceInAWhile(), "Unable connect to node with id %s: %s"
    assert once.filter(record(logging.ERROR, text, 1, "refused"))
    assert not any(once.filter(record(logging.ERROR, text, node, "refused")) for node in range(5))
    assert once.filter(record(logging.ERROR, "another complaint"))
    assert all(once.filter(record(logging.INFO, "Discovered coordinator %s", 1)) for _ in range(3))
    clock_s += kafka_log.SAID_EVERY_S
    told = record(logging.ERROR, text, 2, "refused")
    assert once.filter(told)
    assert told.getMessage() == "Unable connect to node with id 2: refused (and 5 more like it)"
    assert not once.filter(record(logging.ERROR, text, 2, "refused"))


def test_of_forgotten_futures_only_those_of_the_kafka_clients_are_held_back() -> None:
    forgotten = NotOfTheClients()
    assert not forgotten.filter(record(logging.ERROR, "Future exception was never retrieved", error=ProducerFenced()))
    assert forgotten.filter(record(logging.ERROR, "Future exception was never retrieved", error=ValueError()))
    assert forgotten.filter(record(logging.ERROR, "Task exception was never retrieved", error=ProducerFenced()))


async def test_of_reset_connections_only_those_of_the_kafka_clients_are_held_back() -> None:
    forgotten, text = NotOfTheClients(), "Future exception was never retrieved"
    with pytest.raises(ConnectionError) as refused:
        await create_conn("127.0.0.1", free_port())
    assert not forgotten.filter(record(logging.ERROR, text, error=refused.value))
    with pytest.raises(ConnectionError) as refused:
        await asyncio.open_connection("127.0.0.1", free_port())
    assert forgotten.filter(record(logging.ERROR, text, error=refused.value))


def test_whoever_collects_hears_what_is_held_back_from_the_log() -> None:
    once, logger = OnceInAWhile(), logging.getLogger("aiokafka.conn")
    logger.addFilter(once)
    try:
        for _ in range(2):
            with collected_log() as said:
                logger.error("the same reason again")
            assert said == ["the same reason again"]
    finally:
        logger.removeFilter(once)


def test_collecting_side_by_side_leaves_the_log_as_it_was() -> None:
    logger = logging.getLogger("aiokafka")
    first, second = collected_log(), collected_log()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not logger.propagate
    second.__exit__(None, None, None)
    assert logger.propagate
    assert logger.handlers == []
