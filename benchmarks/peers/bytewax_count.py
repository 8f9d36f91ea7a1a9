"""Bytewax: count and sum per user in memory, a verdict for each event; without its recovery store.

It commits no offsets to Kafka, so its progress is seen by the verdicts that it writes.
"""

from __future__ import annotations

import os
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow

UNUSUAL = 3.0
BROKERS = os.environ["KAFKA_SERVERS"].split(",")

Totals = tuple[int, float]


def judge(before: Totals | None, transaction: dict[str, Any]) -> tuple[Totals, dict[str, Any]]:
    """Counts, sums and judges one event."""
    count, total = before or (0, 0.0)
    count, total = count + 1, total + transaction["amount"]
    return (count, total), {
        "transaction_id": transaction["transaction_id"],
        "user_id": transaction["user_id"],
        "count": count,
        "sum": total,
        "flagged": transaction["amount"] > UNUSUAL * total / count,
    }


def message(verdict: tuple[str, dict[str, Any]]) -> Any:
    """As it goes to Kafka."""
    user, value = verdict
    return KafkaSinkMessage(user.encode(), orjson.dumps(value))


flow = Dataflow("count")
records = op.input("transactions", flow, KafkaSource(BROKERS, [os.environ["TRANSACTIONS_TOPIC"]]))
decoded = op.map("decode", records, lambda record: orjson.loads(record.value))
by_user = op.key_on("user", decoded, lambda transaction: transaction["user_id"])
judged = op.stateful_map("judge", by_user, judge)
op.output("verdicts", op.map("encode", judged, message), KafkaSink(BROKERS, os.environ["VERDICTS_TOPIC"]))
