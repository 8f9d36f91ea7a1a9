"""Reads alerts, or all verdicts, with confluent-kafka and prints one JSON object a line.

    python consume_confluent.py [alerts|verdicts] [--group NAME] [--max-messages N]

KAFKA_SERVERS, ALERTS_TOPIC and VERDICTS_TOPIC come from the environment. A crash between `handle` and the commit means
that a message is handled again: let what you keep have the transaction_id as its key, and nothing is doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import struct

from confluent_kafka import Consumer, KafkaException, Message


def handle(message: Message) -> None:
    """What your system does with a message; here it is shown, with what the verdict was made from."""
    shown = {"key": (message.key() or b"").decode(), "verdict": json.loads(message.value() or b"null")}
    headers = dict(message.headers() or [])
    transaction, features = headers.get("transaction"), headers.get("features")
    if isinstance(transaction, bytes):
        shown["transaction"] = json.loads(transaction)
    if isinstance(features, bytes):  # little-endian float32, in the order of docs/features.md
        shown["features"] = [value for (value,) in struct.iter_unpack("<f", features)]
    print(json.dumps(shown), flush=True)


def main() -> None:
    """Reads from where the group stopped; a new group begins with the oldest message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=("alerts", "verdicts"), default="alerts")
    parser.add_argument("--group", default="case-tool", help="readers of one group share the partitions")
    parser.add_argument("--max-messages", type=int, default=-1, help="stop after so many; default: never")
    options = parser.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092"),
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            # Each verdict exactly once; read_uncommitted has it sooner and may, after a crash, have it twice.
            "isolation.level": "read_committed",
            # An offset counts as done when its message was handled, not when it was fetched.
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe([os.environ.get(f"{options.what.upper()}_TOPIC", options.what)])
    left = options.max_messages
    try:
        while left:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            handle(message)
            consumer.store_offsets(message)
            left -= 1
    except KeyboardInterrupt:
        pass  # Ctrl-C is how it is ended; what was handled is committed below
    finally:
        consumer.close()  # commits what was handled and leaves the group at once


if __name__ == "__main__":
    main()
