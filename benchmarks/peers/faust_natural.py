"""Faust as its documentation shows it: a JSON table in RocksDB, count and sum per user, a verdict for each event."""

from __future__ import annotations

import os
from typing import Any

import faust

UNUSUAL = 3.0

app = faust.App(
    os.environ["APP_ID"],
    broker=[f"kafka://{server}" for server in os.environ["KAFKA_SERVERS"].split(",")],
    value_serializer="json",
    store="rocksdb://",
    topic_partitions=int(os.environ["TOPIC_PARTITIONS"]),
)
transactions = app.topic(os.environ["TRANSACTIONS_TOPIC"], key_type=bytes)
verdicts = app.topic(os.environ["VERDICTS_TOPIC"], key_type=bytes)
totals = app.Table("totals", default=dict, options={"driver": "rocksdict"})


@app.agent(transactions)
async def judge(stream: Any) -> None:
    """Counts, sums and judges event by event."""
    async for key, transaction in stream.items():
        user, amount = transaction["user_id"], transaction["amount"]
        before = totals[user]
        count, total = before.get("count", 0) + 1, before.get("sum", 0.0) + amount
        totals[user] = {"count": count, "sum": total}
        await verdicts.send(
            key=key,
            value={
                "transaction_id": transaction["transaction_id"],
                "user_id": user,
                "count": count,
                "sum": total,
                "flagged": amount > UNUSUAL * total / count,
            },
        )
