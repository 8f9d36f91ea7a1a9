"""Whatever a producer of transactions does that Kafka allows, the worker reads: codecs, strange names of headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings
from tests.checker import assert_each_once, committed_offsets, until, verdicts_of
from tests.odd_records import CODECS, Row, odd_batch, send_batch
from tests.servers.kafka import KafkaCluster
from tests.worker import Worker

JUDGED_WITHIN_S = 40.0
PER_BATCH = 20
PARTITION = 1

pytestmark = [pytest.mark.slow]


def row(number: int) -> Row:
    fields = {"transaction_id": f"t{number}", "user_id": "u", "amount": 1 + number % 9, "merchant": "m"}
    return b"u", json.dumps(fields | {"timestamp": 1_700_000_000 + 37 * number}).encode()


async def test_records_with_header_names_that_are_not_utf8_are_judged_like_any_other_in_every_codec(
    kafka: KafkaCluster, own_settings: Settings, tmp_path: Path
) -> None:
    await create_topics(own_settings, kafka.bootstrap)
    topic, sent = own_settings.transactions_topic, 0
    with Worker(own_settings.model_copy(update={"kafka_servers": kafka.bootstrap}), tmp_path) as worker:
        await worker.ready()
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for codec in CODECS:
                for name in (b"tr\xffce", b"trace"):
                    rows = [row(number) for number in range(sent, sent + PER_BATCH)]
                    await send_batch(producer, topic, PARTITION, odd_batch(rows, codec, name))
                    sent += PER_BATCH

        async def all_are_judged() -> bool:
            assert worker.exit_code() is None, worker.tail()
            committed = await committed_offsets(kafka.bootstrap, own_settings.app_id, topic, PARTITION + 1)
            return committed[PARTITION] == sent

        await until(all_are_judged, JUDGED_WITHIN_S, "a verdict on each")
        assert worker.stop() == 0, worker.tail()
        worker.assert_no_traceback()
    verdicts = await verdicts_of(kafka.bootstrap, own_settings.verdicts_topic)
    assert_each_once(verdicts, [f"t{number}" for number in range(sent)])
