"""Quix Streams: count and sum per user in its RocksDB store, a verdict for each event; settings at their defaults."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State

UNUSUAL = 3.0

app = Application(
    broker_address=os.environ["KAFKA_SERVERS"],
    consumer_group=os.environ["APP_ID"],
    auto_offset_reset="earliest",
    state_dir=os.environ["DATA_DIR"],
)
transactions = app.topic(os.environ["TRANSACTIONS_TOPIC"], value_deserializer="json")
verdicts = app.topic(os.environ["VERDICTS_TOPIC"], value_serializer="json")


def judge(transaction: dict[str, Any], state: State) -> dict[str, Any]:
    """Counts, sums and judges one event."""
    count = state.get("count", 0) + 1
    total = state.get("sum", 0.0) + transaction["amount"]
    state.set("count", count)
    state.set("sum", total)
    return {
        "transaction_id": transaction["transaction_id"],
        "user_id": transaction["user_id"],
        "count": count,
        "sum": total,
        "flagged": transaction["amount"] > UNUSUAL * total / count,
    }


app.dataframe(transactions).apply(judge, stateful=True).to_topic(verdicts)

if __name__ == "__main__":
    app.run()
