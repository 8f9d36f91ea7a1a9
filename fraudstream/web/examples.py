"""Examples of requests and answers for /openapi.json; the tests ask with the requests and check the answers' form."""

from __future__ import annotations

from typing import Any

from fraudstream.wire_examples import transaction_example, verdict_example

TRANSACTION: dict[str, Any] = transaction_example()["payload"]
SMALLEST: dict[str, Any] = {
    "transaction_id": "txn_002",
    "user_id": "user_123",
    "amount": 12.5,
    "merchant": "Corner Shop",
}
PREDICTION: dict[str, Any] = verdict_example()["payload"] | {
    "timestamp": "2026-11-22T10:30:00.412Z",
    "processing_time_ms": 2.841,
    "source_partition": None,
    "source_offset": None,
    "profile": {"origin": "table", "age_s": 0.0},
}
BATCH: dict[str, Any] = {"transactions": [TRANSACTION, SMALLEST | {"amount": -1}]}
REQUEST_ID = "9f3c2b7e0d5a4c5f8a61d2f04be7c1aa"


def problem(reason: str, title: str, status: int, detail: str) -> dict[str, Any]:
    """A problem as an example."""
    return {
        "type": f"urn:fraudstream:problem:{reason}",
        "title": title,
        "status": status,
        "detail": detail,
        "reason": reason,
        "request_id": REQUEST_ID,
    }


BATCH_ANSWER: dict[str, Any] = {
    "results": [
        {"verdict": PREDICTION},
        {
            "problem": problem(
                "out_of_range",
                "a number is outside its limits",
                400,
                "amount: expected a number from 0 to 42949672.95, got -1",
            )
        },
    ]
}
PROFILE: dict[str, Any] = {
    "user_id": "user_123",
    "as_of": "2026-11-22T10:30:00Z",
    "first_event_time": "2026-09-02T08:11:09Z",
    "lifetime_count": 131,
    "lifetime_amount_sum": 5310.42,
    "windows": {
        "1h": {"length_s": 3600, "count": 1, "amount_sum": 45.67, "amount_max": 45.67, "is_cut": False},
        "24h": {"length_s": 86400, "count": 2, "amount_sum": 58.17, "amount_max": 45.67, "is_cut": False},
        "7d": {"length_s": 604800, "count": 9, "amount_sum": 310.9, "amount_max": 80.0, "is_cut": False},
        "30d": {"length_s": 2592000, "count": 44, "amount_sum": 1802.33, "amount_max": 212.0, "is_cut": False},
    },
    "hours_utc": [0, 0, 0, 0, 0, 0, 2, 11, 14, 9, 16, 12, 15, 10, 8, 7, 9, 8, 5, 3, 1, 1, 0, 0],
    "kept_count": 60,
    "newest_events": [
        {
            "event_time": "2026-11-22T10:30:00Z",
            "amount": 45.67,
            "merchant_hash": "5d0c1f2a",
            "category_hash": "9b1e",
            "location_hash": "03fd",
            "device_hash": "7a92c3d0",
            "latitude_deg": None,
            "longitude_deg": None,
        }
    ],
    "origin": "table",
    "age_s": 0.0,
}
HEALTH: dict[str, Any] = {
    "ready": True,
    "problems": [],
    "model_version": PREDICTION["model_version"],
    "version": "0.1.0",
    "role": "worker",
    "partitions": [0, 1, 2, 3],
    "lag": 0,
    "processed": 120_431,
    "restored": 0,
    "restoring": False,
    "restore_total": 0,
    "restore_rate": 0.0,
    "restore_left_s": 0.0,
    "standby": [],
    "standby_behind": 0,
    "model_problem": None,
}
NOT_READY: dict[str, Any] = HEALTH | {
    "ready": False,
    "problems": ["no partitions are assigned to this worker yet"],
    "partitions": [],
    "processed": 0,
}
ALIVE: dict[str, Any] = {"alive": True, "problem": None}
NOT_ALIVE: dict[str, Any] = {
    "alive": False,
    "problem": "transactions wait and none is judged, for 91 s while the broker answers",
}
