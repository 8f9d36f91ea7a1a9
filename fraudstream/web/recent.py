"""The verdicts that were just made, kept in memory so that they can be looked up; bounded, oldest gone first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice

import msgspec

from fraudstream.pipeline import Emitted
from fraudstream.transaction import Transaction

KEPT = 10_000
KEPT_ALERTS = 5_000
"""Alerts are what people look for, so they are kept when the others have long gone."""


class Row(msgspec.Struct, frozen=True):
    """One line of a list of verdicts, field by field from the verdict and its transaction."""

    transaction_id: str
    user_id: str
    amount: float
    currency: str | None
    merchant: str
    category: str | None
    score: float
    threshold: float
    flagged: bool
    kind: str
    explanation: str
    event_time: datetime


class _Judged(msgspec.Struct):
    """The part of a verdict that a row shows; verdicts of other versions have it too."""

    transaction_id: str
    user_id: str
    anomaly_score: float
    threshold: float
    flagged: bool
    anomaly_type: str
    explanation: str
    event_time: datetime


class _Asked(msgspec.Struct):
    """The beginning of every verdict."""

    transaction_id: str


_judged = msgspec.json.Decoder(_Judged).decode
_paid = msgspec.json.Decoder(Transaction).decode


def row_of(verdict: bytes, transaction: bytes) -> Row:
    """A verdict and its transaction, as JSON, in one line."""
    judged, paid = _judged(verdict), _paid(transaction)
    return Row(
        judged.transaction_id,
        judged.user_id,
        paid.amount,
        paid.currency,
        paid.merchant,
        paid.category,
        judged.anomaly_score,
        judged.threshold,
        judged.flagged,
        judged.anomaly_type,
        judged.explanation,
        judged.event_time,
    )


def row_of_emitted(emitted: Emitted) -> Row:
    """The line of a verdict as it was sent."""
    return row_of(emitted.value, emitted.transaction)


class Recent:
    """The newest KEPT verdicts and the newest KEPT_ALERTS flagged ones."""

    def __init__(self) -> None:
        self._all: deque[Emitted] = deque(maxlen=KEPT)
        self._alerts: deque[Emitted] = deque(maxlen=KEPT_ALERTS)
        self.added = 0
        self.alerts_added = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, verdicts: Sequence[Emitted], alerts: Sequence[Emitted]) -> None:
        """Keeps the verdicts of a micro-batch, and those of them that are flagged."""
        self._all.extend(verdicts)
        self._alerts.extend(alerts)
        self.added += len(verdicts)
        self.alerts_added += len(alerts)

    def newest(self, count: int) -> list[Emitted]:
        """Up to `count` verdicts, newest first."""
        return list(islice(reversed(self._all), count))

    def newest_alerts(self, count: int) -> list[Emitted]:
        """Up to `count` flagged verdicts, newest first."""
        return list(islice(reversed(self._alerts), count))

    def find(self, transaction_id: str) -> Emitted | None:
        """The verdict on a transaction, the newest where there are several."""
        start = _start_of(transaction_id)
        return next((each for each in self._newest_first() if each.value.startswith(start)), None)

    def of_user(self, user_id: str, most: int) -> list[Emitted]:
        """Verdicts on a user, newest first, each once."""
        key = user_id.encode()
        return _each_once((each for each in self._newest_first() if each.key == key), most)

    def starting_with(self, text: str, most: int) -> list[Emitted]:
        """Verdicts whose transaction_id begins with a text, newest first, each once."""
        start = _start_of(text)[:-1]  # without the closing quote
        return _each_once((each for each in self._newest_first() if each.value.startswith(start)), most)

    def users_starting_with(self, text: str, most: int) -> list[str]:
        """Users whose id begins with a text, those judged last first."""
        start = text.encode()
        found = dict.fromkeys(each.key for each in self._newest_first() if each.key.startswith(start))
        return [key.decode() for key in islice(found, most)]

    def _newest_first(self) -> Iterator[Emitted]:
        return chain(reversed(self._all), reversed(self._alerts))


def _start_of(transaction_id: str) -> bytes:
    return msgspec.json.encode(_Asked(transaction_id))[:-1]


def _each_once(found: Iterator[Emitted], most: int) -> list[Emitted]:
    # By its bytes: a redelivered transaction has the same verdict again, and an alert is kept in both lists.
    kept: dict[bytes, Emitted] = {}
    for each in found:
        kept.setdefault(each.value, each)
        if len(kept) == most:
            break
    return list(kept.values())
