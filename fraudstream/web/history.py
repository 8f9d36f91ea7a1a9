"""A user's last 30 days for a chart: events of the profile, which has no names, named where a verdict is known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from statistics import median

import msgspec

from fraudstream.features.windows import MONTH_S
from fraudstream.state.event import CENTS, CENTS_PER_UNIT, ID_HIGH, ID_LOW, TIME, identity_of
from fraudstream.state.profile import RING_EVENTS, ProfileView
from fraudstream.web.recent import Row

Identity = tuple[int, int]
"""What a profile remembers of a transaction_id."""


class Point(msgspec.Struct, frozen=True):
    """One transaction of the past.

    Attributes:
        transaction_id: None where only the profile knows it, which keeps no names.
        flagged: None where its verdict is not known any more.
    """

    event_time: datetime
    amount: float
    transaction_id: str | None = None
    merchant: str | None = None
    flagged: bool | None = None


class History(msgspec.Struct, frozen=True):
    """A user and the 30 days up to `until`.

    Attributes:
        known_since: event time of the user's first transaction, None for a user without a profile.
        transactions: in the user's life.
        mean_amount: over the user's life, in main units.
        median_amount: of the points but the transaction that is looked at; None without any.
        complete_since: where it is not None, the profile has dropped what came up to then.
        points: oldest first.
        profile_age_s: how old the profile is that this was read from.
    """

    user_id: str
    since: datetime
    until: datetime
    known_since: datetime | None
    transactions: int
    mean_amount: float | None
    median_amount: float | None
    complete_since: datetime | None
    kept_at_most: int
    points: list[Point]
    profile_age_s: float


def history_of(
    user_id: str,
    profile: ProfileView | None,
    known: Iterable[Row],
    around: Row | None = None,
    profile_age_s: float = 0.0,
) -> History:
    """Puts together what is known of a user.

    Args:
        profile: as the worker has it, None for an unknown user.
        known: verdicts on the user's transactions, in any order.
        around: the transaction that is looked at; the 30 days end with the user's newest one where it lies in them,
            and with it otherwise.
        profile_age_s: seconds since the profile was written down.
    """
    by_identity = {identity_of(row.transaction_id): row for row in known}
    if around is not None:
        by_identity[identity_of(around.transaction_id)] = around
    points: dict[Identity, Point] = {}
    if profile is not None:
        for words in profile.events:
            identity = (int(words[ID_LOW]), int(words[ID_HIGH]))
            at = datetime.fromtimestamp(int(words[TIME]), UTC)
            points[identity] = _point(by_identity.get(identity), at, int(words[CENTS]) / CENTS_PER_UNIT)
    for identity, row in by_identity.items():
        points.setdefault(identity, _point(row, row.event_time, row.amount))
    newest = max((point.event_time for point in points.values()), default=datetime.now(UTC))
    if around is not None and (newest - around.event_time).total_seconds() >= MONTH_S:
        newest = around.event_time
    since = datetime.fromtimestamp(newest.timestamp() - MONTH_S, UTC)
    shown = sorted(
        (point for point in points.values() if since < point.event_time <= newest), key=lambda point: point.event_time
    )
    others = [point.amount for point in shown if around is None or point.transaction_id != around.transaction_id]
    floor_s = profile.floor_s if profile is not None else 0
    return History(
        user_id=user_id,
        since=since,
        until=newest,
        known_since=datetime.fromtimestamp(profile.first_s, UTC) if profile is not None else None,
        transactions=profile.count if profile is not None else len(points),
        mean_amount=round(profile.amount_sum / profile.count, 2) if profile is not None and profile.count else None,
        median_amount=round(median(others), 2) if others else None,
        complete_since=datetime.fromtimestamp(floor_s, UTC) if floor_s > since.timestamp() else None,
        kept_at_most=RING_EVENTS,
        points=shown,
        profile_age_s=round(profile_age_s, 1),
    )


def _point(row: Row | None, at: datetime, amount: float) -> Point:
    if row is None:
        return Point(at, amount)
    return Point(at, amount, row.transaction_id, row.merchant, row.flagged)
