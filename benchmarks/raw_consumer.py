"""The floor: an aiokafka consumer that decodes each record and commits ten times a second; no Faust, no state."""

from __future__ import annotations

import os
import time

import aiokafka
import msgspec
import uvloop

COMMIT_INTERVAL_S = 0.1
FETCH_WAIT_MS = 50
POLL_RECORDS = 1024


class Transaction(msgspec.Struct, gc=False):
    """The fields of the wire; required and optional ones alike."""

    transaction_id: str
    user_id: str
    amount: float
    merchant: str
    timestamp: str
    category: str | None = None
    location: str | None = None
    device_id: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    currency: str | None = None


async def consume() -> None:
    """Consumes until it is stopped from outside."""
    consumer = aiokafka.AIOKafkaConsumer(
        os.environ["TRANSACTIONS_TOPIC"],
        bootstrap_servers=os.environ["KAFKA_SERVERS"],
        group_id=os.environ["APP_ID"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=30_000,
    )
    await consumer.start()
    decode = msgspec.json.Decoder(Transaction).decode
    committed_s, is_dirty = time.monotonic(), False
    while True:
        fetched = await consumer.getmany(timeout_ms=FETCH_WAIT_MS, max_records=POLL_RECORDS)
        for records in fetched.values():
            for record in records:
                decode(record.value)
        is_dirty = is_dirty or bool(fetched)
        if is_dirty and time.monotonic() - committed_s >= COMMIT_INTERVAL_S:
            await consumer.commit()
            committed_s, is_dirty = time.monotonic(), False


if __name__ == "__main__":
    uvloop.run(consume())
