"""From a client to a client: real payments in by one example, verdicts and alerts out by others, all as documented."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from fraudstream.training.history import encode_rows, read_history
from tests.checker import read_topic, until
from tests.clients import run_client
from tests.datasets import data_set
from tests.servers.kafka import KafkaCluster
from tests.wire import FEATURE_BYTES, assert_alert, assert_verdict, assert_verdict_value, validator
from tests.worker import Worker

ROWS = 5_000
JUDGED_WITHIN_S = 90.0

pytestmark = [pytest.mark.slow]


async def test_what_clients_send_and_get_is_what_the_schemas_say(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    rows = encode_rows(read_history(data_set("sparkov_a.parquet"), rows=ROWS))
    sent = {fields["transaction_id"]: fields for fields in (json.loads(value) for _, value in rows)}
    assert len(sent) == ROWS
    for fields in sent.values():
        validator("transaction", closed=True).validate(fields)
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        lines = b"".join(value + b"\n" for _, value in rows)
        await asyncio.to_thread(run_client, "produce_confluent.py", settings=settings, lines=lines)

        async def all_judged() -> bool:
            return len(await read_topic(kafka.bootstrap, settings.verdicts_topic)) == ROWS

        await until(all_judged, JUDGED_WITHIN_S, f"{ROWS} verdicts")
        alerts = await assert_topics_are_as_documented(kafka.bootstrap, settings)
        await assert_clients_get_them(settings, sent, alerts)
        assert worker.stop() == 0, worker.tail()


async def assert_topics_are_as_documented(bootstrap: str, settings: Settings) -> set[str]:
    """Every message is; returns the transactions of the alerts."""
    verdicts = [
        assert_verdict(record.key, record.value, dict(record.headers))
        for record in await read_topic(bootstrap, settings.verdicts_topic)
    ]
    alerts = [
        assert_alert(record.key, record.value, dict(record.headers))
        for record in await read_topic(bootstrap, settings.alerts_topic)
    ]
    flagged = {verdict["transaction_id"] for verdict in verdicts if verdict["flagged"]}
    assert 0 < len(flagged) < ROWS
    assert sorted(alert["transaction_id"] for alert in alerts) == sorted(flagged)
    assert await read_topic(bootstrap, settings.dead_letters_topic) == []
    return flagged


async def assert_clients_get_them(settings: Settings, sent: dict[str, dict[str, object]], alerts: set[str]) -> None:
    """Each Python client shows each verdict and each alert once, with what it was made from."""
    for client in ("consume_confluent.py", "consume_aiokafka.py"):
        group = f"{settings.app_id}-{client}"
        for what, expected in (("verdicts", set(sent)), ("alerts", alerts)):
            count = str(len(expected))
            arguments = (what, "--group", f"{group}-{what}", "--max-messages", count)
            told = [
                json.loads(line) for line in await asyncio.to_thread(run_client, client, *arguments, settings=settings)
            ]
            assert {one["verdict"]["transaction_id"] for one in told} == expected
            assert len(told) == len(expected)
            for one in told:
                assert_verdict_value(one["key"].encode(), json.dumps(one["verdict"]).encode())
                if what == "verdicts":
                    assert one["transaction"] == sent[one["verdict"]["transaction_id"]]
                    assert len(one["features"]) * 4 == FEATURE_BYTES
