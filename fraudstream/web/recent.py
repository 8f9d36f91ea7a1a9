"""The verdicts that were just made, kept in memory so that they can be looked up; bounded, oldest gone first."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import TypeVar

import msgspec
import numpy as np

from fraudstream.emitted import Emitted, Verdicts
from fraudstream.transaction import Transaction

KEPT = 10_000
KEPT_ALERTS = 5_000
"""Alerts are what people look for, so they are kept when the others have long gone."""


Found = TypeVar("Found")
Place = tuple[Verdicts, int]
"""A micro-batch, and which of its verdicts."""


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


class _Kept:
    """The newest verdicts of a kind, or some more, as they were made: a micro-batch in one piece.

    Args:
        most: how many are kept at least, where there have been as many.

    Attributes:
        added: how many there have been.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: deque[Verdicts] = deque()
        self._kept = 0
        self.added = 0

    def __len__(self) -> int:
        return self._kept

    def __reversed__(self) -> Iterator[Verdicts]:
        return reversed(self._batches)

    def add(self, verdicts: Verdicts) -> None:
        """Keeps the verdicts of a micro-batch, and drops the oldest that are too many."""
        if not len(verdicts):
            return
        self._batches.append(verdicts)
        self.added += len(verdicts)
        self._kept += len(verdicts)
        while self._kept - len(self._batches[0]) >= self._most:
            self._kept -= len(self._batches.popleft())

    def newest(self, of: int, *, flagged: bool) -> list[Place]:
        """Where those are among the newest `of` that are flagged, or are not; newest first."""
        found: list[Place] = []
        for batch in reversed(self._batches):
            if of <= 0:
                break
            first = max(len(batch) - of, 0)
            rows = np.flatnonzero(batch.flagged[first:] == flagged) + first
            found += [(batch, row) for row in rows[::-1].tolist()]
            of -= len(batch)
        return found


class Recent:
    """The newest KEPT verdicts and the newest KEPT_ALERTS flagged ones, or some more.

    They are looked for in their bytes: an object is made only of what is found.
    """

    def __init__(self) -> None:
        self._all, self._alerts = _Kept(KEPT), _Kept(KEPT_ALERTS)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def added(self) -> int:
        """How many verdicts there have been."""
        return self._all.added

    @property
    def alerts_added(self) -> int:
        """How many of them were flagged."""
        return self._alerts.added

    def add(self, verdicts: Verdicts) -> None:
        """Keeps the verdicts of a micro-batch."""
        self._all.add(verdicts.compact())
        if verdicts.types:
            self._alerts.add(verdicts.only(np.fromiter(verdicts.types, np.int64, len(verdicts.types))))

    def newest_normal(self, of: int, most: int) -> list[Emitted]:
        """Up to `most` of the verdicts that are not flagged among the newest `of`, newest first and evenly spread."""
        return [batch[row] for batch, row in evenly(self._all.newest(of, flagged=False), most)]

    def newest_alerts(self, of: int, most: int) -> list[Emitted]:
        """Up to `most` of the newest `of` flagged verdicts, newest first and evenly spread."""
        return [batch[row] for batch, row in evenly(self._alerts.newest(of, flagged=True), most)]

    def newest_types(self, of: int) -> list[str]:
        """The anomaly types of the newest `of` flagged verdicts, newest first."""
        return [batch.types[row] for batch, row in self._alerts.newest(of, flagged=True)]

    def find(self, transaction_id: str) -> Emitted | None:
        """The verdict on a transaction, the newest where there are several."""
        return next(self._holding(_start_of(transaction_id)), None)

    def of_user(self, user_id: str, most: int) -> list[Emitted]:
        """Verdicts on a user, newest first, each once."""
        return _each_once(self._holding(_user_of(user_id)), most)

    def starting_with(self, text: str, most: int) -> list[Emitted]:
        """Verdicts whose transaction_id begins with a text, newest first, each once."""
        return _each_once(self._holding(_start_of(text)[:-1]), most)  # without the closing quote

    def users_starting_with(self, text: str, most: int) -> list[str]:
        """Users whose id begins with a text, those judged last first."""
        found = dict.fromkeys(each.key for each in self._holding(_user_of(text)[:-1]))
        return [key.decode() for key in islice(found, most)]

    def _holding(self, text: bytes) -> Iterator[Emitted]:
        """Verdicts with a text that each has at most once, newest first; an alert may come twice."""
        for batch in chain(reversed(self._all), reversed(self._alerts)):
            places = [match.start() for match in re.finditer(re.escape(text), batch.lines.blob.tobytes())]
            for row in np.searchsorted(batch.lines.spans[:, 0], places[::-1], side="right").tolist():
                yield batch[row - 1]


def _start_of(transaction_id: str) -> bytes:
    return msgspec.json.encode(_Asked(transaction_id))[:-1]


def _user_of(user_id: str) -> bytes:
    """The second field; no text can hold its quotes."""
    return b'","user_id":' + msgspec.json.encode(user_id)


def evenly(found: Sequence[Found], most: int) -> list[Found]:
    """Up to so many of them, evenly spread."""
    if len(found) <= most:
        return list(found)
    return [found[at * len(found) // most] for at in range(most)]


def _each_once(found: Iterator[Emitted], most: int) -> list[Emitted]:
    # By its bytes: a redelivered transaction has the same verdict again, and an alert is kept in both lists.
    kept: dict[bytes, Emitted] = {}
    for each in found:
        kept.setdefault(each.value, each)
        if len(kept) == most:
            break
    return list(kept.values())
