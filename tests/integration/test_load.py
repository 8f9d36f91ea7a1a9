"""`fraudstream load` on a real broker: as fast as verdicts come back, measured from sending; on schedule, in ticks."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.adapters.transaction_stream import transaction_stream
from fraudstream.cli.main import main
from fraudstream.cli.stream_client import TICK_S, Outgoing, Pace, StreamClient
from fraudstream.settings import Settings
from tests.checker import end_offsets
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker, environment

pytestmark = pytest.mark.servers

NUMBER = 2_000


async def test_a_load_is_sent_as_fast_as_verdicts_come_back(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        many = await loaded(worker.settings, tmp_path, NUMBER, in_flight=500)
        few = await loaded(worker.settings, tmp_path, NUMBER // 100, in_flight=1)
        assert worker.stop() == 0, worker.tail()
    assert (many["sent"], many["received"], many["missed"]) == (NUMBER, NUMBER, 0)
    assert (few["sent"], few["received"], few["missed"]) == (NUMBER // 100, NUMBER // 100, 0)
    assert many["per_second"] > 5 * few["per_second"]
    # One that has to wait for the verdict before it is measured from when it left, not from when it was due.
    assert few["latency_ms"]["p99"] < 1000 * few["sent"] / few["per_second"] / 2


async def test_what_becomes_due_within_a_tick_is_sent_together(kafka: KafkaCluster, own_settings: Settings) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    rows = [Outgoing(f"t{number}", b"u%d" % number, b"{}") for number in range(NUMBER)]
    async with transaction_stream(settings, kafka.bootstrap) as stream:
        client = StreamClient(stream, settings, lambda _tally, _seen: None)
        # Measured from sending: the moment of the sender's turn, which no wait for the CPU brings nearer to the next.
        await client.run(rows, Pace(NUMBER / 0.5, None, from_schedule=False), patience_s=0.2)
    moments = sorted({moment for sent in client.tally.waiting.values() for moment in sent})
    assert sum((await end_offsets(kafka.bootstrap, settings.transactions_topic)).values()) == NUMBER
    assert min(after - before for before, after in pairwise(moments)) > 0.9 * TICK_S
    assert moments[-1] - moments[0] < 1.0, "the schedule was kept"


async def loaded(settings: Settings, directory: Path, number: int, in_flight: int) -> dict[str, Any]:
    file, asked = directory / "load.json", {"rate": NUMBER, "seconds": number / NUMBER, "in-flight": in_flight}
    arguments = [f"--{name}={value}" for name, value in asked.items()] + [f"--json={file}"]
    done = await asyncio.to_thread(CliRunner().invoke, main, ("load", *arguments), env=environment(settings))
    assert done.exit_code == 0, done.output
    assert "from sending" in done.output
    found: dict[str, Any] = json.loads(file.read_text())
    return found
