"""A worker that hurries: its Kafka clients wait 2 s for an answer, the broker 1 s for its transactions; a Faust app."""

from __future__ import annotations

from typing import Any

from fraudstream.adapters.kafka_client import kafka_arguments
from fraudstream.agents import producers, rekeying
from fraudstream.settings import Settings

ANSWER_TIMEOUT_MS = 2_000


def hurried_arguments(settings: Settings) -> dict[str, Any]:
    """As ever, with less patience."""
    return kafka_arguments(settings) | {"request_timeout_ms": ANSWER_TIMEOUT_MS}


producers.TRANSACTION_TIMEOUT_S = 1.0
for room in (producers, rekeying):
    vars(room)["kafka_arguments"] = hurried_arguments

from fraudstream.agents.app import app  # noqa: E402  what stands above must hold when clients start

__all__ = ["app"]
