"""Dead letters as a worker would write them, for tests of those who read them."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from fraudstream.agents.producers import dead_letter_message
from fraudstream.dead_letter import DeadLetter
from fraudstream.settings import Settings


def letter(
    topic: str,
    number: int,
    value: bytes | None = b"{",
    *,
    key: bytes | None = b"u",
    reason: str = "malformed_json",
    detail: str = "message: expected a JSON object",
) -> DeadLetter:
    """One whose origin is partition 1 of a topic."""
    return DeadLetter(topic, 1, number, key, value, reason, detail)


async def write_letters(
    bootstrap: str, settings: Settings, letters: Iterable[DeadLetter], *, timestamp_ms: int | None = None
) -> None:
    """Puts them on the dead-letter topic, in partition 0 and in their order."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_request_size=2**22
    ) as producer:
        sent = []
        for one in letters:
            key, value, headers = dead_letter_message(one)
            batch = producer.create_batch()  # as workers do; `send` takes no message without key and value
            batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers)
            batch.close()
            sent.append(await producer.send_batch(batch, settings.dead_letters_topic, partition=0))
        for future in sent:
            await future
