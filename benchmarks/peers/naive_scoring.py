"""The design that one writes first: a JSON history per user, features in Python, scikit-learn and torch per event.

Three models as fraudstream has them (Isolation Forest, autoencoder, LSTM), of the same sizes, with made-up weights:
what they say does not matter here, what they cost does.
"""

from __future__ import annotations

import math
import os
from datetime import datetime
from statistics import fmean, pstdev
from typing import Any

import faust
import numpy as np
import torch
from sklearn.ensemble import IsolationForest

HISTORY_S = 30 * 86_400.0
KEPT = 256
WINDOWS_S = (3_600.0, 86_400.0, 7 * 86_400.0, HISTORY_S)
STEPS = 10
THRESHOLD = 0.9
TREES = 100
FEATURES = 3 * len(WINDOWS_S) + 9

app = faust.App(
    os.environ["APP_ID"],
    broker=[f"kafka://{server}" for server in os.environ["KAFKA_SERVERS"].split(",")],
    value_serializer="json",
    store="rocksdb://",
    topic_partitions=int(os.environ["TOPIC_PARTITIONS"]),
)
transactions = app.topic(os.environ["TRANSACTIONS_TOPIC"], key_type=bytes)
verdicts = app.topic(os.environ["VERDICTS_TOPIC"], key_type=bytes)
histories = app.Table("histories", default=list, options={"driver": "rocksdict"})

torch.manual_seed(0)
forest = IsolationForest(n_estimators=TREES, random_state=0).fit(
    np.random.default_rng(0).normal(size=(10_000, FEATURES))
)
autoencoder = torch.nn.Sequential(
    torch.nn.Linear(FEATURES, 24), torch.nn.Tanh(), torch.nn.Linear(24, 4), torch.nn.Tanh(),
    torch.nn.Linear(4, 24), torch.nn.Tanh(), torch.nn.Linear(24, FEATURES),
).eval()  # fmt: skip
lstm = torch.nn.LSTM(3, 24, batch_first=True).eval()
head = torch.nn.Linear(24, 1).eval()


@app.agent(transactions)
async def judge(stream: Any) -> None:
    """Judges event by event."""
    async for key, transaction in stream.items():
        user = transaction["user_id"]
        now = event_of(transaction)
        history = [event for event in histories[user] if event["time"] > now["time"] - HISTORY_S][-KEPT:]
        anomaly = score(features_of(history, now), [*history[-STEPS:], now])
        histories[user] = [*history, now]
        await verdicts.send(
            key=key,
            value={
                "transaction_id": transaction["transaction_id"],
                "user_id": user,
                "anomaly_score": anomaly,
                "flagged": anomaly > THRESHOLD,
            },
        )


def event_of(transaction: dict[str, Any]) -> dict[str, Any]:
    """What a history keeps of a transaction."""
    return {
        "time": datetime.fromisoformat(transaction["timestamp"]).timestamp(),
        "amount": transaction["amount"],
        "merchant": transaction["merchant"],
        "category": transaction.get("category"),
        "latitude": transaction.get("latitude") or 0.0,
        "longitude": transaction.get("longitude") or 0.0,
    }


def features_of(history: list[dict[str, Any]], now: dict[str, Any]) -> list[float]:
    """Counts, sums and means of the windows; how this payment differs from those before it."""
    features: list[float] = []
    for window_s in WINDOWS_S:
        amounts = [event["amount"] for event in history if event["time"] > now["time"] - window_s]
        features += [len(amounts), sum(amounts), fmean(amounts) if amounts else 0.0]
    amounts = [event["amount"] for event in history] or [now["amount"]]
    last = history[-1] if history else now
    deviation = pstdev(amounts) or 1.0
    hour = now["time"] % 86_400.0 / 86_400.0 * 2 * math.pi
    return [
        *features,
        math.log1p(now["amount"]),
        (now["amount"] - fmean(amounts)) / deviation,
        now["amount"] / max(*amounts, 0.01),
        now["time"] - last["time"],
        float(all(event["merchant"] != now["merchant"] for event in history)),
        float(all(event["category"] != now["category"] for event in history)),
        math.hypot(now["latitude"] - last["latitude"], now["longitude"] - last["longitude"]),
        math.sin(hour),
        math.cos(hour),
    ]


def score(features: list[float], steps: list[dict[str, Any]]) -> float:
    """The mean of three scores between 0 and 1."""
    isolation = -float(forest.score_samples([features])[0])
    with torch.no_grad():
        inputs = torch.tensor([features], dtype=torch.float32)
        error = torch.nn.functional.mse_loss(autoencoder(inputs), inputs)
        sequence = torch.tensor([[[step["amount"], step["latitude"], step["longitude"]] for step in steps]])
        states, _ = lstm(sequence)
        surprise = torch.sigmoid(head(states[:, -1]))
    return (isolation + 1.0 - math.exp(-float(error)) + float(surprise)) / 3
