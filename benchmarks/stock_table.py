"""Stock Faust as its documentation shows a table: RocksDB, every setting at its default, on the worker's changelog."""

from __future__ import annotations

import os
from typing import Any

import faust

app = faust.App(
    os.environ["APP_ID"],
    broker=[f"kafka://{server}" for server in os.environ["KAFKA_SERVERS"].split(",")],
    store="rocksdb://",
    datadir=os.environ["DATA_DIR"],
    web_enabled=False,
)

profiles = app.Table("profiles", partitions=int(os.environ["TOPIC_PARTITIONS"]), key_type=bytes, value_type=bytes)


@app.agent(app.topic(os.environ["TRANSACTIONS_TOPIC"], key_type=bytes, value_type=bytes))
async def touch(stream: Any) -> None:
    """Has a reason to keep the table."""
    async for event in stream.events():
        profiles[event.key] = event.value
