"""Reads alerts, or all verdicts, with aiokafka and prints one JSON object a line.

    python consume_aiokafka.py [alerts|verdicts] [--group NAME] [--max-messages N]

KAFKA_SERVERS, ALERTS_TOPIC and VERDICTS_TOPIC come from the environment. A crash between `handle` and the commit means
that a message is handled again: let what you keep have the transaction_id as its key, and nothing is doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord


async def handle(message: ConsumerRecord) -> None:
    """What your system does with a message; here it is shown, with what the verdict was made from."""
    shown = {"key": message.key.decode(), "verdict": json.loads(message.value)}
    headers = dict(message.headers)
    if "transaction" in headers:
        shown["transaction"] = json.loads(headers["transaction"])
    if "features" in headers:  # little-endian float32, in the order of docs/features.md
        shown["features"] = [value for (value,) in struct.iter_unpack("<f", headers["features"])]
    print(json.dumps(shown), flush=True)


async def main() -> None:
    """Reads from where the group stopped; a new group begins with the oldest message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=("alerts", "verdicts"), default="alerts")
    parser.add_argument("--group", default="case-tool", help="readers of one group share the partitions")
    parser.add_argument("--max-messages", type=int, default=-1, help="stop after so many; default: never")
    options = parser.parse_args()
    consumer = AIOKafkaConsumer(
        os.environ.get(f"{options.what.upper()}_TOPIC", options.what),
        bootstrap_servers=os.environ.get("KAFKA_SERVERS", "127.0.0.1:9092"),
        group_id=options.group,
        auto_offset_reset="earliest",
        isolation_level="read_committed",  # aiokafka's default is read_uncommitted: sooner, and repeats after a crash
        enable_auto_commit=False,
    )
    left = options.max_messages
    async with consumer:
        while left:
            batches = await consumer.getmany(timeout_ms=1000, max_records=left if left > 0 else None)
            for messages in batches.values():
                for message in messages:
                    await handle(message)
                    left -= 1
            if batches:
                await consumer.commit()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
