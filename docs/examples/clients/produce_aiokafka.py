"""Produces transactions with aiokafka: one JSON object a line on stdin, each keyed by its user_id.

    echo '{"transaction_id":"t1","user_id":"u1","amount":9.5,"merchant":"Cafe"}' | python produce_aiokafka.py

KAFKA_SERVERS and TRANSACTIONS_TOPIC come from the environment. Ends with an error when the broker does not take one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from aiokafka import AIOKafkaProducer

IN_FLIGHT = 1_000


async def main() -> None:
    """Sends every line and waits until the broker has all of them."""
    topic = os.environ.get("TRANSACTIONS_TOPIC", "transactions")
    # The default partitioner is Kafka's own (murmur2). Idempotence keeps the order of a user's payments, and doubles
    # none, when something has to be sent again.
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092"), enable_idempotence=True
    )
    async with producer:
        waiting = []
        for line in sys.stdin:
            key = json.loads(line)["user_id"]
            waiting.append(await producer.send(topic, line.strip().encode(), key=key.encode()))
            if len(waiting) == IN_FLIGHT:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)


if __name__ == "__main__":
    asyncio.run(main())
