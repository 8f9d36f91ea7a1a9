"""From a payment to its explanation: worker, audit sink and database as users run them, then what people look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from fraudstream.adapters.audit_store import open_store
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from tests.checker import read_topic, until
from tests.servers.kafka import KafkaCluster
from tests.servers.postgres import PostgresServer
from tests.worker import Worker, environment

START_S = 1_764_000_000
DAY_S = 86_400
PAYMENTS = 25
STORED_WITHIN_S = 60.0


def payments() -> list[dict[str, Any]]:
    """A month of small payments, and one that nobody of this kind makes."""
    small = [
        {
            "transaction_id": f"small {day}",
            "user_id": "u1",
            "amount": 20.0 + day % 5,
            "merchant": f"shop {day % 3}",
            "category": "food",
            "device_id": "phone",
            "timestamp": START_S + day * DAY_S,
        }
        for day in range(PAYMENTS - 1)
    ]
    large = {"transaction_id": "large", "amount": 2400.0, "merchant": "jeweller", "category": "jewels"}
    return [*small, small[-1] | large | {"device_id": "another", "timestamp": START_S + (PAYMENTS - 1) * DAY_S}]


async def test_a_payment_is_judged_kept_explained_and_shown(
    kafka: KafkaCluster, postgres: PostgresServer, own_database: str, own_settings: Settings, tmp_path: Path
) -> None:
    settings = own_settings.model_copy(
        update={"kafka_servers": kafka.bootstrap, "postgres_url": SecretStr(own_database), "topic_partitions": 1}
    )
    await create_topics(settings, kafka.bootstrap)
    async with open_store(settings) as store:
        await store.migrate()
    with (
        Worker(settings, tmp_path) as worker,
        Worker(settings, tmp_path, "sink", app="fraudstream.agents.audit") as sink,
    ):
        await worker.ready()
        await sink.ready()
        await produce(settings, payments())

        async def is_stored() -> bool:
            async with open_store(settings) as store:
                return sum(head.rows for head in await store.heads()) == PAYMENTS

        await until(is_stored, STORED_WITHIN_S, f"{PAYMENTS} rows")
        (verdict,) = [
            json.loads(record.value or b"")
            for record in await read_topic(kafka.bootstrap, settings.verdicts_topic)
            if b'"large"' in (record.value or b"")
        ]
        assert verdict["flagged"]

        explained = run_explain(settings, tmp_path, "--what-if", "amount=22", "--what-if", "device_id=phone")
        assert explained["verdict"] == verdict
        assert explained["what_if"]["is_exact"], explained["what_if"]
        assert explained["what_if"]["verdict"]["anomaly_score"] < verdict["anomaly_score"]

        # Another worker never saw it: what its console shows comes from the audit trail.
        assert worker.stop() == 0, worker.tail()
        worker.start()
        await worker.ready()
        answer = await worker.ask("/console/transactions/large")
        assert answer is not None
        assert answer.status == 200, answer.body
        page = answer.json()
        assert page["verdict"] == verdict
        assert page["chain"]["offset"] == verdict["source_offset"]
        assert page["notes"] == []
        ids = [point["transaction_id"] for point in page["history"]["points"]]
        assert ids == [payment["transaction_id"] for payment in payments()], "names come from the trail alone"
        assert worker.stop() == 0, worker.tail()
        assert sink.stop() == 0, sink.tail()


async def produce(settings: Settings, rows: list[dict[str, Any]]) -> None:
    """Sends payments in their order."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_servers) as producer:
        for row in rows:
            await producer.send_and_wait(
                settings.transactions_topic, json.dumps(row).encode(), row["user_id"].encode(), partition=0
            )


def run_explain(settings: Settings, directory: Path, *options: str) -> dict[str, Any]:
    """What `fraudstream explain large` finds."""
    found = directory / "explained.json"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("fraudstream")), "explain", "large", *options, "--json", str(found)],
        env=os.environ | environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(found.read_text())
    return result
