"""Produces transactions with confluent-kafka: one JSON object a line on stdin, each keyed by its user_id.

    echo '{"transaction_id":"t1","user_id":"u1","amount":9.5,"merchant":"Cafe"}' | python produce_confluent.py

KAFKA_SERVERS and TRANSACTIONS_TOPIC come from the environment. Ends with 1 when the broker did not take a message.
"""

from __future__ import annotations

import json
import os
import sys

from confluent_kafka import Message, Producer


def main() -> int:
    """Sends every line and waits until the broker has all of them."""
    topic = os.environ.get("TRANSACTIONS_TOPIC", "transactions")
    failures: list[str] = []

    def delivered(error: object, message: Message) -> None:
        if error is not None:
            failures.append(f"{message.key()!r}: {error}")

    producer = Producer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092"),
            # librdkafka's own default is another, and would spread a user's payments over two partitions.
            "partitioner": "murmur2_random",
            # Keeps the order of a user's payments, and doubles none, when something has to be sent again.
            "enable.idempotence": True,
        }
    )
    for line in sys.stdin:
        key = json.loads(line)["user_id"]
        while True:
            try:
                producer.produce(topic, value=line.strip(), key=key, on_delivery=delivered)
                break
            except BufferError:  # the broker is slower than stdin
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(30)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures or left else 0


if __name__ == "__main__":
    sys.exit(main())
