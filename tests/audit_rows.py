"""Rows and messages of an audit trail for tests: as a worker would send them, without a worker."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from fraudstream.adapters.audit_rows import EvidenceRow, row_of_message
from fraudstream.evidence import evidence_headers

START = datetime(2024, 1, 20, tzinfo=UTC)
FEATURES = 55


def message(number: int, partition: int = 0, **changed: Any) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of one verdict's message; `changed` are fields of the verdict."""
    verdict = {
        "transaction_id": f"t{number}",
        "user_id": f"user_{number % 97}",
        "anomaly_score": number % 1000 / 1000,
        "anomaly_type": "unusual_amount",
        "confidence": 0.5,
        "explanation": "Amount 912.40 is 14 times this user's usual 65.10",
        "flagged": number % 10 == 0,
        "threshold": 0.9,
        "reasons": [
            {"code": code, "feature": "log_amount", "value": 912.4, "contribution": 0.3, "text": "Amount € 912.40 …"}
            for code in ("unusual_amount", "high_velocity", "new_device")
        ],
        "members": {"forest": 0.12, "autoencoder": 0.2, "lstm": 0.1},
        "model_version": "m-1234567890",
        "event_time": (START + timedelta(minutes=number)).isoformat(),
        "timestamp": (START + timedelta(minutes=number, seconds=1)).isoformat(),
        "processing_time_ms": None,
        "source_partition": partition,
        "source_offset": 2 * number,  # transaction markers and dead letters leave gaps
        "late": False,
        "duplicate": False,
        "degraded": [],
    } | changed
    transaction = {"transaction_id": verdict["transaction_id"], "user_id": verdict["user_id"], "amount": 912.4}
    features = np.arange(number, number + FEATURES, dtype="<f4").tobytes()
    return json.dumps(verdict, ensure_ascii=False).encode(), evidence_headers(
        json.dumps(transaction | {"merchant": "Starbucks", "category": "food", "location": "New York"}).encode(),
        features,
    )


def row(number: int, partition: int = 0, **changed: Any) -> EvidenceRow:
    """One row."""
    return row_of_message(*message(number, partition, **changed))


def rows_of(count: int, partitions: int = 4, first: int = 0) -> list[EvidenceRow]:
    """Rows spread over partitions, in order."""
    return [row(number, number % partitions) for number in range(first, first + count)]
