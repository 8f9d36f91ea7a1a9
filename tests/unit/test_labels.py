"""Labels: what is one and what is refused, and what is counted of it beside the verdicts in a real audit trail."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fraudstream.adapters.audit_metrics import AuditMetrics
from fraudstream.adapters.audit_rows import row_of_message
from fraudstream.adapters.audit_sqlite import SqliteStore
from fraudstream.agents.labels import WAIT_S, LabelJoin
from fraudstream.dead_letter import REASONS, DeadLetter
from fraudstream.errors import RefusedInput
from fraudstream.label import decode_label
from tests.audit_rows import message

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def label(transaction_id: str, user_id: str, *, is_fraud: bool, reported_at: datetime = NOW) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "user_id": user_id,
        "is_fraud": is_fraud,
        "reported_at": reported_at.isoformat(),
        "source": "chargeback",
    }


GOOD = label("t1", "u1", is_fraud=True)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"u1", None, "empty_message"),
        (b"u1", b"{", "malformed_json"),
        (b"u1", b"\xff", "malformed_json"),
        (b"u1", b"[1]", "wrong_type"),
        (b"u1", json.dumps({**GOOD, "is_fraud": "yes"}).encode(), "wrong_type"),
        (b"u1", json.dumps({**GOOD, "user_id": ""}).encode(), "bad_length"),
        (b"u1", json.dumps({**GOOD, "reported_at": "2026-11-28T00:00:00"}).encode(), "naive_time"),
        (b"u1", json.dumps({**GOOD, "reported_at": "yesterday"}).encode(), "absurd_time"),
        (b"u1", json.dumps({**GOOD, "reported_at": "1970-01-01T00:00:00Z"}).encode(), "absurd_time"),
        (b"u1", json.dumps({**GOOD, "transaction_id": "a\x00"}).encode(), "control_character"),
        (b"u1", json.dumps({k: v for k, v in GOOD.items() if k != "source"}).encode(), "missing_field"),
        (b"u2", json.dumps(GOOD).encode(), "key_mismatch"),
        (None, json.dumps(GOOD).encode(), "key_mismatch"),
    ],
)
def test_what_is_no_label_is_refused_with_its_reason(key: bytes | None, value: bytes | None, reason: str) -> None:
    with pytest.raises(RefusedInput) as refused:
        decode_label(key, value)
    assert refused.value.reason == reason
    assert reason in REASONS


@dataclass
class Message:
    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: float = field(default_factory=time.time)
    topic: str = "labels"
    partition: int = 0


@dataclass
class Event:
    message: Message


class Desk:
    """A join on a real trail, with what it acknowledged and refused."""

    def __init__(self, store: SqliteStore) -> None:
        self.metrics = AuditMetrics()
        self.letters: list[DeadLetter] = []
        self.acked: list[int] = []
        self.join = LabelJoin(store, self.metrics, self._letter)
        self.join.ack = self._ack
        self._next = 0

    async def _letter(self, letter: DeadLetter) -> None:
        self.letters.append(letter)

    async def _ack(self, event: Event) -> None:
        self.acked.append(event.message.offset)

    async def take(self, told: dict[str, Any], age_s: float = 0.0) -> None:
        at, self._next = self._next, self._next + 1
        key, value = told["user_id"].encode(), json.dumps(told).encode()
        await self.join.take(Event(Message(key, value, at, time.time() - age_s)))

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"fraudstream_{name}", labels) or 0.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "audit.sqlite3")
    yield store
    await store.close()


async def put(store: SqliteStore, number: int, *, flagged: bool) -> tuple[str, str, datetime]:
    """Stores one verdict; returns its transaction, user and event time."""
    value, headers = message(number, 0)
    verdict = json.loads(value) | {"flagged": flagged}
    row = row_of_message(json.dumps(verdict).encode(), headers)
    await store.append([row])
    return row.transaction_id, row.user_id, row.event_time


async def test_every_pair_of_verdict_and_label_counts_as_what_it_is(store: SqliteStore) -> None:
    desk = Desk(store)
    cases = {"true_positive": (True, True), "false_positive": (True, False),
             "false_negative": (False, True), "true_negative": (False, False)}  # fmt: skip
    for number, (flagged, is_fraud) in enumerate(cases.values()):
        transaction_id, user_id, _ = await put(store, number, flagged=flagged)
        await desk.take(label(transaction_id, user_id, is_fraud=is_fraud))
    await desk.join.tick()
    assert {name: desk.count("label_outcomes_total", outcome=name) for name in cases} == dict.fromkeys(cases, 1.0)
    assert desk.acked == [0, 1, 2, 3]


async def test_a_label_waits_for_its_verdict_and_is_unknown_in_the_end(store: SqliteStore) -> None:
    desk = Desk(store)
    await put(store, 1, flagged=True)
    value, headers = message(5, 0)
    row = row_of_message(value, headers)
    await desk.take(label(row.transaction_id, row.user_id, is_fraud=True))
    await desk.take(label("nobody's", "u", is_fraud=True), age_s=WAIT_S + 1)
    await desk.take(label(row.transaction_id, "another user", is_fraud=True), age_s=WAIT_S + 1)
    await desk.join.tick()
    assert (desk.acked, desk.count("labels_total", result="unknown")) == ([1, 2], 2.0)
    await store.append([row])
    await desk.join.tick()
    assert (desk.acked, desk.count("labels_total", result="counted")) == ([1, 2, 0], 1.0)


async def test_a_second_label_changes_no_count(store: SqliteStore) -> None:
    desk = Desk(store)
    transaction_id, user_id, _ = await put(store, 0, flagged=True)
    for is_fraud in (True, True, False):
        await desk.take(label(transaction_id, user_id, is_fraud=is_fraud))
    await desk.join.tick()
    found = {result: desk.count("labels_total", result=result) for result in ("counted", "repeated", "revised")}
    assert found == dict.fromkeys(found, 1.0)
    assert desk.count("label_outcomes_total", outcome="true_positive") == 1.0
    assert desk.count("label_outcomes_total", outcome="false_positive") == 0.0


async def test_a_late_label_is_counted_as_both(store: SqliteStore) -> None:
    desk = Desk(store)
    for number, days in enumerate((29, 31)):
        transaction_id, user_id, event_time = await put(store, number, flagged=True)
        reported_at = event_time + timedelta(days=days)
        await desk.take(label(transaction_id, user_id, is_fraud=True, reported_at=reported_at))
    await desk.join.tick()
    assert (desk.count("labels_late_total"), desk.count("labels_total", result="counted")) == (1.0, 2.0)


async def test_what_is_no_label_goes_to_the_dead_letters(store: SqliteStore) -> None:
    desk = Desk(store)
    await desk.take({"user_id": "u1"})
    assert [(letter.topic, letter.reason) for letter in desk.letters] == [("labels", "missing_field")]
    assert desk.acked == [0]
    assert desk.count("dead_letters_total", reason="missing_field") == 1.0


async def test_what_waits_when_partitions_move_is_left_to_be_delivered_again(store: SqliteStore) -> None:
    desk = Desk(store)
    await desk.take(label("t", "u", is_fraud=True))
    desk.join.forget()
    await desk.join.tick()
    assert desk.acked == []
    assert desk.count("labels_total", result="unknown") == 0.0
