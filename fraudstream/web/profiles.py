"""GET /profiles/{user_id}: a user's rolling state in readable form; reads the record, computes no feature."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from fraudstream.errors import ProfileError, RefusedInput
from fraudstream.features import past
from fraudstream.state.event import ABSENT, CENTS, CENTS_PER_UNIT, TIME
from fraudstream.state.profile import ProfileView, view
from fraudstream.transaction import CONTROL_CHARACTER, MAX_ID_CHARS
from fraudstream.web.auth import authenticated
from fraudstream.web.body import JSON
from fraudstream.web.context import context_of
from fraudstream.web.predict import parameters
from fraudstream.web.problems import Trouble
from fraudstream.web.profile_source import FoundProfile
from fraudstream.web.schema import NEWEST_EVENTS, WINDOW_NAMES, Event, ProfilePage, Window


@authenticated
async def profile(request: web.Request) -> web.Response:
    """The rolling state of the user that the path names."""
    context = context_of(request)
    parameters(request, ())
    with context.counted():
        user_id = request.match_info["user_id"]
        if not 1 <= len(user_id) <= MAX_ID_CHARS or CONTROL_CHARACTER.search(user_id):
            raise Trouble("invalid_parameter", f"user_id: expected 1 to {MAX_ID_CHARS} characters, none for control")
        context.refuse_if_not_ready()
        try:
            found = (await context.service.profiles.find([user_id.encode()]))[0]
            if found is None:
                raise Trouble("not_ready", "profile: nobody who would know can be asked; the user may be new or known")
            read = view(found.record)
        except RefusedInput as refused:
            raise Trouble.of(refused) from None
        except ConnectionError as error:
            raise Trouble("not_ready", f"profiles cannot be reached: {error}") from None
        except ProfileError as error:
            raise Trouble("profile_unreadable", f"profile: {error}") from None
        if read is None:
            raise Trouble("unknown_user", "user_id: expected a user with at least one transaction in the stream")
        return web.Response(body=msgspec.json.encode(page_of(user_id, read, found)), content_type=JSON)


def page_of(user_id: str, read: ProfileView, found: FoundProfile) -> ProfilePage:
    """A profile as its page shows it."""
    return ProfilePage(
        user_id=user_id,
        as_of=_time(read.newest_s),
        first_event_time=_time(read.first_s),
        lifetime_count=read.count,
        lifetime_amount_sum=read.amount_sum,
        windows={name: _window(read, length_s) for name, length_s in WINDOW_NAMES.items()},
        hours_utc=list(read.hours),
        kept_count=len(read.events),
        newest_events=[_event(words) for words in read.events[: -NEWEST_EVENTS - 1 : -1]],
        origin=found.origin,
        age_s=round(found.age_s, 3),
    )


def _window(read: ProfileView, length_s: int) -> Window:
    begins_s = read.newest_s - length_s
    cents = read.events[read.events[:, TIME].astype(np.int64) > begins_s, CENTS].astype(np.int64)
    return Window(
        length_s=length_s,
        count=len(cents),
        amount_sum=int(cents.sum()) / CENTS_PER_UNIT,
        amount_max=int(cents.max(initial=0)) / CENTS_PER_UNIT,
        is_cut=read.floor_s > begins_s,
    )


def _event(words: NDArray[np.uint32]) -> Event:
    kept = past.Event(words)
    return Event(
        event_time=_time(kept.time_s),
        amount=kept.amount,
        merchant_hash=f"{kept.merchant:08x}",
        category_hash=_hash(kept.category, 4),
        location_hash=_hash(kept.location, 4),
        device_hash=_hash(kept.device, 8),
        latitude_deg=_number(kept.latitude),
        longitude_deg=_number(kept.longitude),
    )


def _hash(value: int, digits: int) -> str | None:
    return None if value == ABSENT else f"{value:0{digits}x}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _time(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
