"""Profiles of made-up users as they stand in a changelog: many users, few of whom pay most, records of real size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fraudstream.state.event import EVENT_WORDS, TIME
from fraudstream.state.profile import (
    COUNT,
    FIRST,
    HEADER_WORDS,
    HISTOGRAM,
    NEWEST,
    OFFSET,
    RING_EVENTS,
    SEQUENCE_EVENTS,
    SUM_CENTS,
    VERSION,
    VERSION_AND_SIZE,
)

ZIPF_EXPONENT = 0.8
MEAN_EVENTS = 59
"""Makes a record of 2 kB in the mean."""
UPDATES_PER_USER = 0.25
"""Records that a later one of the same user follows: what the broker has not compacted yet."""

_PATTERNS = 2_048
_NEWEST_S = 1_760_000_000


def events_kept(users: int) -> NDArray[np.int64]:
    """(users,) events in each user's profile, the most active user first."""
    weights = _weights(users)
    low, high = 0.0, 100.0 * MEAN_EVENTS * users
    for _ in range(60):  # the scale at which the mean holds, though the ring bounds both ends
        scale = (low + high) / 2
        mean = np.clip(weights * scale, SEQUENCE_EVENTS, RING_EVENTS).mean()
        low, high = (scale, high) if mean < MEAN_EVENTS else (low, scale)
    return np.clip(weights * high, SEQUENCE_EVENTS, RING_EVENTS).astype(np.int64)


def changelog_records(users: int, seed: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, key and record of a user, in a mixed order; each user at least once, active ones again and again."""
    rng = np.random.default_rng(seed)
    kept, patterns = events_kept(users), _patterns(rng)
    updated = rng.choice(users, int(users * UPDATES_PER_USER), p=_weights(users))
    order = np.concatenate([np.arange(users), updated])
    rng.shuffle(order)
    header = np.zeros(HEADER_WORDS, np.uint32)
    for user in order:
        events = patterns[user % _PATTERNS, :, : kept[user]]
        header[VERSION_AND_SIZE] = VERSION | int(kept[user]) << 16
        header[NEWEST], header[FIRST] = events[TIME, -1], events[TIME, 0]
        header[COUNT], header[SUM_CENTS] = kept[user], int(kept[user]) * 4_000
        header[OFFSET : OFFSET + 2] = 0xFFFFFFFF  # none of this stream, as a backfill writes it
        header[HISTOGRAM:] = int(kept[user]) // 24
        yield int(user), b"user_%08d" % user, header.astype("<u4").tobytes() + events.astype("<u4").tobytes()


def _weights(users: int) -> NDArray[np.float64]:
    weights = np.power(np.arange(1, users + 1, dtype=np.float64), -ZIPF_EXPONENT)
    return np.asarray(weights / weights.sum(), np.float64)


def _patterns(rng: np.random.Generator) -> NDArray[np.uint32]:
    """(patterns, EVENT_WORDS, RING_EVENTS) events: hashes and ids that nothing compresses, times and cents that do."""
    words = rng.integers(0, 2**32, (_PATTERNS, EVENT_WORDS, RING_EVENTS), dtype=np.uint32)
    words[:, TIME] = _NEWEST_S - np.flip(np.cumsum(rng.integers(60, 20_000, (_PATTERNS, RING_EVENTS)), axis=1), axis=1)
    words[:, TIME + 1] = rng.lognormal(8.0, 1.0, (_PATTERNS, RING_EVENTS)).astype(np.uint32)
    words[:, -1] = words[:, -1, :1]  # a user's place and device are mostly the same
    return words
