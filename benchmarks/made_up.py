"""Transactions of made-up users: who pays is drawn, and they come from the past at once, or now at a rate."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from benchmarks.broker import produce
from benchmarks.process_figures import MeasurementError
from fraudstream.settings import Settings

DAYS_S = 30 * 86_400
ZIPF_EXPONENT = 1.0
MERCHANTS = 500
PAST_AT_A_TIME = 100_000
SECONDS_AT_A_TIME = 0.02
FLUSH_TIMEOUT_S = 30.0


def draw(rng: np.random.Generator, drawn: str, users: int, rows: int) -> NDArray[np.int64]:
    """(rows,) numbers of users, `uniform` or `zipf`."""
    if drawn == "uniform":
        return rng.integers(0, users, rows)
    weights = 1.0 / np.arange(1, users + 1) ** ZIPF_EXPONENT
    return rng.choice(users, rows, p=weights / weights.sum())


def message(number: int, user: int, event_time_s: float) -> tuple[bytes, bytes]:
    """Key and value."""
    name = f"user_{user:08d}"
    transaction = {
        "transaction_id": f"t{number}",
        "user_id": name,
        "amount": 5 + number % 97,
        "merchant": f"merchant_{(user * 31 + number % 7) % MERCHANTS}",
        "category": "grocery",
        "device_id": f"device_{user}",
        "timestamp": int(event_time_s * 1000),
    }
    return name.encode(), json.dumps(transaction).encode()


def produce_past(settings: Settings, users: NDArray[np.int64], until_s: float) -> None:
    """Their last 30 days, evenly spread, as fast as they go."""
    apart_s = DAYS_S / len(users)
    for start in range(0, len(users), PAST_AT_A_TIME):
        some = users[start : start + PAST_AT_A_TIME].tolist()
        produce(
            settings,
            [message(number, user, until_s - DAYS_S + number * apart_s) for number, user in enumerate(some, start)],
        )


def produce_at_rate(
    settings: Settings,
    users: NDArray[np.int64],
    first: int,
    rate: int,
    event_time_s: Callable[[], float] = time.time,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """One transaction after another at a rate; numbers begin with `first`.

    Raises:
        MeasurementError: the broker does not take them.
    """
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_servers or "",
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "log_level": 0,  # what matters comes as an error
        }
    )
    at_a_time = max(1, int(rate * SECONDS_AT_A_TIME))
    started_s = time.perf_counter()
    for start in range(0, len(users), at_a_time):
        time.sleep(max(0.0, started_s + start / rate - time.perf_counter()))
        if is_over():
            break
        for number, user in enumerate(users[start : start + at_a_time].tolist(), first + start):
            key, value = message(number, user, event_time_s())
            producer.produce(settings.transactions_topic, value, key)
        producer.poll(0)
    if producer.flush(FLUSH_TIMEOUT_S):
        raise MeasurementError(f"expected the broker to take all transactions within {FLUSH_TIMEOUT_S:.0f} s")
