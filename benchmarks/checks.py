"""Whether a case did its work: what its verdicts must say about the records that it was given."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec

Message = tuple[bytes, bytes]
"""user_id and transaction as JSON."""

DAY_S = 86_400
TOLERANCE = 1e-6


class Found(msgspec.Struct, gc=False):
    """What is read of a verdict; the totals where the case keeps some."""

    transaction_id: str
    user_id: str = ""
    flagged: bool | None = None
    count: int | None = None
    sum: float | None = None
    sum_24h: float | None = None


class _Given(msgspec.Struct, gc=False):
    transaction_id: str
    user_id: str
    amount: float
    timestamp: datetime


_given = msgspec.json.Decoder(_Given).decode


def one_verdict_each(found: Sequence[Found], messages: Sequence[Message]) -> str:
    """Whether each transaction has exactly one verdict; says what is wrong, empty where nothing is."""
    wanted = sorted(_given(value).transaction_id for _, value in messages)
    ids = sorted(verdict.transaction_id for verdict in found)
    if ids == wanted:
        return ""
    return (
        f"expected one verdict for each of {len(wanted)} transactions, got {len(ids)} of {len(set(ids))} transactions"
    )


def totals_of_users(found: Sequence[Found], messages: Sequence[Message]) -> str:
    """Whether the newest verdict of every user has the right count and sum."""
    amounts: defaultdict[str, list[float]] = defaultdict(list)
    for _, value in messages:
        given = _given(value)
        amounts[given.user_id].append(given.amount)
    newest = {verdict.user_id: verdict for verdict in found}
    for user, paid in amounts.items():
        verdict = newest.get(user)
        count, total = (None, None) if verdict is None else (verdict.count, verdict.sum)
        if count != len(paid) or total is None or not math.isclose(total, math.fsum(paid), rel_tol=TOLERANCE):
            wanted = f"{len(paid)} payments of {math.fsum(paid):.2f}"
            return f"expected {wanted} in all of user {user}, got {count} of {total}"
    return ""


def day_of_busiest_user(found: Sequence[Found], messages: Sequence[Message]) -> str:
    """Whether each verdict of the busiest user has the sum of the 24 hours before it, by adding them up again."""
    busiest = Counter(key for key, _ in messages).most_common(1)[0][0]
    given = [_given(value) for key, value in messages if key == busiest]
    sums = {verdict.transaction_id: verdict.sum_24h for verdict in found}
    for now in given:
        paid = [one.amount for one in given if 0 <= (now.timestamp - one.timestamp).total_seconds() <= DAY_S]
        total = sums.get(now.transaction_id)
        if total is None or not math.isclose(total, math.fsum(paid), rel_tol=TOLERANCE):
            return f"expected {math.fsum(paid):.2f} in the 24 hours up to {now.transaction_id}, got {total}"
    return ""
