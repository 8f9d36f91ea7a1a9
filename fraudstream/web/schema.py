"""The bodies of requests and answers as msgspec types, which /openapi.json is made from; no route stands here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from fraudstream.features.windows import WINDOWS_S
from fraudstream.transaction import Transaction
from fraudstream.verdict import Verdict
from fraudstream.web.problems import Problem
from fraudstream.web.profile_source import Origin

MAX_BATCH = 500
WINDOW_NAMES = dict(zip(("1h", "24h", "7d", "30d"), WINDOWS_S, strict=True))
NEWEST_EVENTS = 20

Count = Annotated[int, msgspec.Meta(ge=0)]


class ProfileUsed(msgspec.Struct, frozen=True, gc=False):
    """The profile that a transaction was judged against.

    Attributes:
        origin: this worker's own table, that of the worker that owns the user, or a copy in the cache.
        age_s: seconds since the worker wrote it down; 0 for a table.
    """

    origin: Origin
    age_s: float


class Prediction(Verdict, frozen=True, gc=False):
    """The answer to one transaction: the verdict as in the stream, and how fresh the profile was.

    Attributes:
        profile: null where the profile did not come in time or could not be reached (`degraded` names `profile`): the
            user was then judged as an unknown one.
    """

    profile: ProfileUsed | None


class Batch(msgspec.Struct, frozen=True):
    """A request to /predict/batch.

    Attributes:
        transactions: as /predict takes them; a bad one leaves the others alone.
    """

    transactions: Annotated[list[Transaction], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one transaction of a batch: one of the two.

    Attributes:
        verdict: byte for byte what /predict answers.
        problem: what /predict would have answered instead.
    """

    verdict: Prediction | None = None
    problem: Problem | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answer to /predict/batch.

    Attributes:
        results: in the order of the transactions.
    """

    results: list[BatchItem]


class Window(msgspec.Struct, frozen=True, gc=False):
    """What a user did in one rolling window (as_of - length, as_of].

    Attributes:
        length_s: of the window, in seconds.
        count: payments in it.
        amount_sum: of these payments, in main units.
        amount_max: of the largest payment, in main units; 0 without any.
        is_cut: the profile had to drop payments that belong here: count and sum are of the rest.
    """

    length_s: int
    count: Count
    amount_sum: float
    amount_max: float
    is_cut: bool


class Event(msgspec.Struct, frozen=True, gc=False):
    """One payment as the profile remembers it: names are kept as hashes, which cannot be read back.

    Attributes:
        event_time: when it was made.
        amount: in main units.
        merchant_hash, category_hash, location_hash, device_hash: hexadecimal; null where the payment had none.
        latitude_deg, longitude_deg: in hundredths of a degree; null where the payment had none.
    """

    event_time: datetime
    amount: float
    merchant_hash: str
    category_hash: str | None
    location_hash: str | None
    device_hash: str | None
    latitude_deg: float | None
    longitude_deg: float | None


class ProfilePage(msgspec.Struct, frozen=True):
    """A user's rolling state in readable form.

    Attributes:
        user_id: whose it is.
        as_of: event time of the user's newest payment; windows end here.
        first_event_time: event time of the user's first payment.
        lifetime_count: payments in the user's life.
        lifetime_amount_sum: of the payments in the user's life, in main units.
        windows: by name: 1h, 24h, 7d, 30d.
        hours_utc: payments in the user's life by hour of the day, 24 numbers from midnight UTC; each ends at 65,535.
        kept_count: payments that the profile still holds one by one.
        newest_events: the last ones, newest first.
        origin: this worker's own table, that of the worker that owns the user, or a copy in the cache.
        age_s: seconds since the worker wrote the profile down; 0 for a table.
    """

    user_id: str
    as_of: datetime
    first_event_time: datetime
    lifetime_count: Count
    lifetime_amount_sum: float
    windows: dict[str, Window]
    hours_utc: Annotated[list[Count], msgspec.Meta(min_length=24, max_length=24)]
    kept_count: Count
    newest_events: Annotated[list[Event], msgspec.Meta(max_length=NEWEST_EVENTS)]
    origin: Origin
    age_s: float
