"""What a client is told when it writes to a connection that was cut a moment ago."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

import fraudstream.adapters.kafka_client  # noqa: F401  installs it
from fraudstream.adapters.embedded_broker import EmbeddedBroker


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_connection_that_was_cut_is_broken_on_every_loop(
    embedded_broker: EmbeddedBroker, run: Callable[[Any], Any]
) -> None:
    async def write() -> None:
        host, _, port = embedded_broker.bootstrap.rpartition(":")
        connection = await create_conn(host, int(port))
        assert (await connection.send(MetadataRequest([]))).brokers
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed, and the task that reads has not run since
        with pytest.raises(KafkaConnectionError):
            await connection.send(MetadataRequest([]))
        assert not connection.connected()

    run(write())


def test_other_faults_stay_what_they_are(embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> None:
        host, _, port = embedded_broker.bootstrap.rpartition(":")
        connection = await create_conn(host, int(port))

        def broken(*_: object) -> None:
            raise RuntimeError("a fault of our own")

        monkeypatch.setattr(MetadataRequest, "prepare", broken)
        with pytest.raises(RuntimeError, match="a fault of our own"):
            await connection.send(MetadataRequest([]))
        assert connection.connected()
        await connection.close()

    asyncio.run(write())
