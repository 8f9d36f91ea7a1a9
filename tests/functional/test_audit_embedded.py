"""A worker and an audit sink without any server: every verdict is in the SQLite file, and the chain holds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fraudstream.adapters.audit_store import open_store
from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.cli.main import main
from fraudstream.evidence import features_of
from fraudstream.features.catalogue import CATALOGUE
from fraudstream.settings import Settings
from fraudstream.topics import declared_topics
from fraudstream.training.history import encode_rows
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.checker import ordered_producer, produce, until
from tests.worker import Worker, environment

ROWS = 1_500
LABELLED = 40

pytestmark = [pytest.mark.slow]


def labels_of(messages: list[tuple[bytes, bytes]]) -> list[tuple[bytes | None, bytes | None]]:
    """That the first transactions were no fraud, and a label that says nothing."""
    told: list[tuple[bytes | None, bytes | None]] = []
    for key, value in messages[:LABELLED]:
        of = {"transaction_id": json.loads(value)["transaction_id"], "user_id": key.decode()}
        label = {**of, "is_fraud": False, "reported_at": "2030-01-01T00:00:00Z", "source": "test"}
        told.append((key, json.dumps(label).encode()))
    return [*told, (b"u", b"{}")]


async def labels_counted(sink: Worker) -> bool:
    """Whether the sink has held all labels beside their verdicts."""
    answer = await sink.ask("/metrics")
    return (
        answer is not None
        and f'fraudstream_labels_total{{result="counted"}} {LABELLED}.0'.encode() in answer.body
        and b'fraudstream_dead_letters_total{reason="missing_field"} 1.0' in answer.body
    )


async def test_every_verdict_is_kept_with_its_transaction_and_its_features(
    embedded_broker: EmbeddedBroker, own_settings: Settings, tmp_path: Path
) -> None:
    for topic in declared_topics(own_settings):
        embedded_broker.create_topic(topic.name, topic.partitions)
    settings = own_settings.model_copy(update={"kafka_servers": embedded_broker.bootstrap})
    messages = encode_rows(simulate(SimulationSpec(transactions=ROWS, users=40, seed=2)))
    with (
        Worker(settings, tmp_path) as worker,
        Worker(settings, tmp_path, "sink", app="fraudstream.agents.audit") as sink,
    ):
        await worker.ready()
        await sink.ready()
        async with ordered_producer(embedded_broker.bootstrap) as producer:
            await produce(producer, settings.transactions_topic, messages)
            await produce(producer, settings.labels_topic, labels_of(messages))
        async with open_store(sink.settings) as store, asyncio.timeout(90):
            while sum(head.rows for head in await store.heads()) < ROWS:
                assert sink.exit_code() is None, sink.tail()
                await asyncio.sleep(0.2)
            await until(lambda: labels_counted(sink), 60, "one label counted for each transaction, one refused")
            assert sink.stop() == 0, sink.tail()
            for key, value in messages[:: ROWS // 50]:
                wanted = json.loads(value)
                found = await store.find(wanted["transaction_id"])
                assert found is not None
                assert (found.user_id.encode(), found.transaction) == (key, value)
                assert json.loads(found.verdict)["transaction_id"] == wanted["transaction_id"]
                assert features_of(found.features).shape == (len(CATALOGUE),)
        sink.assert_no_traceback()
    told = tmp_path / "verify.json"
    ended = await asyncio.to_thread(
        CliRunner().invoke, main, ["audit", "verify", "--json", str(told)], env=environment(sink.settings)
    )
    assert ended.exit_code == 0, ended.output
    assert json.loads(told.read_text())["rows"] == ROWS
