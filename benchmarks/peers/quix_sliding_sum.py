"""Quix Streams: the exact sum of each user's last 24 hours at every event, by its sliding window."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Latest, Sum

app = Application(
    broker_address=os.environ["KAFKA_SERVERS"],
    consumer_group=os.environ["APP_ID"],
    auto_offset_reset="earliest",
    state_dir=os.environ["DATA_DIR"],
)


def event_time_ms(value: dict[str, Any], _headers: Any, _timestamp_ms: float, _kind: Any) -> int:
    """When the payment happened."""
    return int(datetime.fromisoformat(value["timestamp"]).timestamp() * 1000)


transactions = app.topic(os.environ["TRANSACTIONS_TOPIC"], value_deserializer="json", timestamp_extractor=event_time_ms)
verdicts = app.topic(os.environ["VERDICTS_TOPIC"], value_serializer="json")


def verdict(window: dict[str, Any], key: bytes, _timestamp_ms: int, _headers: Any) -> dict[str, Any]:
    """One verdict for each event: what it is about, and the sum."""
    return {"transaction_id": window["transaction_id"], "user_id": key.decode(), "sum_24h": window["sum"]}


windows = (
    app.dataframe(transactions)
    .sliding_window(timedelta(hours=24))
    .agg(sum=Sum("amount"), transaction_id=Latest("transaction_id"))
)
judged = windows.current().apply(verdict, metadata=True)
# Else a verdict has the payment's own time, and the broker removes what is older than its retention.
judged.set_timestamp(lambda *_: int(time.time() * 1000)).to_topic(verdicts)

if __name__ == "__main__":
    app.run()
