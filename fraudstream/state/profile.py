"""The profile record: one user's rolling state as one binary value; only its layout and reading live here.

A record is little-endian 32-bit words: a header of `HEADER_WORDS`, then `EVENT_WORDS` columns of n words each, the
events sorted by event time (ties in order of arrival). Lifetime values are exact integers, so a late event can take
the newer ones out again without a residue.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ProfileError
from fraudstream.state.event import CENTS, CENTS_PER_UNIT, EVENT_WORDS, TIME

VERSION = 1
HEADER_WORDS = 25
WORD_BYTES = 4
_HEADER_BYTES, _EVENT_BYTES = HEADER_WORDS * WORD_BYTES, EVENT_WORDS * WORD_BYTES
HOURS = 24

# Header, in words. The histogram packs two 16-bit hours into a word and saturates at 65,535.
VERSION_AND_SIZE, NEWEST, FLOOR, FIRST, COUNT, SUM_CENTS, SUM_LOG, SUM_LOG_SQUARED, OFFSET, HISTOGRAM = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    9,
    11,
    13,
)

RING_EVENTS = 256
"""A profile keeps at most this many events; the oldest go first and the verdict says how many windows are cut."""

SEQUENCE_EVENTS = 10
"""The LSTM looks back this many events, so they are kept however old they are."""

LOG_STEPS = 1024
"""log1p(amount) is kept as an integer in steps of 1/1024, so that its lifetime sums are exact."""

_leading = struct.Struct("<HH").unpack_from
"""Version and number of events: the first word."""
_OFFSET = struct.Struct("<q")

EMPTY = b""
"""The record of a user who was never seen."""

UPGRADES: dict[int, Callable[[bytes], bytes]] = {}
"""From an older version to the next one; `upgrade` applies them in turn."""


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile in readable form.

    Attributes:
        newest_s: event time of the newest event, seconds since 1970.
        floor_s: event time of the newest event that the ring had to drop, 0 if none.
        first_s: event time of the user's first event.
        count: events in the user's life.
        amount_sum: their sum, in main units.
        source_offset: offset of the last source record that changed this profile, -1 if none of this stream did.
        hours: lifetime histogram over the hour of day, UTC.
        events: (n, EVENT_WORDS) the events kept, oldest first.
    """

    newest_s: int
    floor_s: int
    first_s: int
    count: int
    amount_sum: float
    source_offset: int
    hours: tuple[int, ...]
    events: NDArray[np.uint32]

    @property
    def times_s(self) -> list[int]:
        """Event times kept, oldest first."""
        return [int(second) for second in self.events[:, TIME]]

    @property
    def amounts(self) -> list[float]:
        """Amounts kept, oldest first, in main units."""
        return [int(cents) / CENTS_PER_UNIT for cents in self.events[:, CENTS]]


def upgrade(record: bytes) -> bytes:
    """The same profile in today's version; returns the argument itself where nothing is to do.

    Raises:
        ProfileError: the record is damaged, or was written by a newer fraudstream.
    """
    while True:
        version, events = _leading(record) if len(record) >= _HEADER_BYTES else (None, 0)
        if version == VERSION:
            expected = _HEADER_BYTES + events * _EVENT_BYTES
            if len(record) != expected:
                raise ProfileError(f"expected a profile of {expected} bytes for {events} events, got {len(record)}")
            return record
        step = UPGRADES.get(version) if version is not None else None
        if step is None:
            raise ProfileError(
                f"expected a profile of version {VERSION} or older, got "
                + (f"{len(record)} bytes" if version is None else f"version {version}")
                + ": this record was written by a newer fraudstream or is damaged; "
                "run the newer version, or empty DATA_DIR so that it is restored from the changelog"
            )
        record = step(record)


def view(record: bytes) -> ProfileView | None:
    """Reads a record; None for a user who was never seen."""
    if not record:
        return None
    words = np.frombuffer(upgrade(record), "<u4")
    histogram = words[HISTOGRAM:HEADER_WORDS]
    return ProfileView(
        newest_s=int(words[NEWEST]),
        floor_s=int(words[FLOOR]),
        first_s=int(words[FIRST]),
        count=int(words[COUNT]),
        amount_sum=_u64(words, SUM_CENTS) / CENTS_PER_UNIT,
        source_offset=int(words[OFFSET : OFFSET + 2].view("<i8")[0]),
        hours=tuple(int(histogram[hour >> 1]) >> 16 * (hour & 1) & 0xFFFF for hour in range(HOURS)),
        events=words[HEADER_WORDS:].reshape(EVENT_WORDS, -1).T,
    )


def source_offset(record: bytes) -> int:
    """Offset of the last source record that changed this profile, -1 if none of this stream did or none can be read."""
    return int(_OFFSET.unpack_from(record, OFFSET * WORD_BYTES)[0]) if len(record) >= _HEADER_BYTES else -1


def without_offset(record: bytes) -> bytes:
    """The same profile as one that has seen no source record yet, to begin another stream with.

    Offsets only mean something within one topic: a profile that was filled elsewhere (a replay of files, an older
    topic) would take the first records of the new stream for redelivered ones.

    Raises:
        ProfileError: the record is damaged, or was written by a newer fraudstream.
    """
    words = np.frombuffer(upgrade(record), "<u4").copy()
    words[OFFSET : OFFSET + 2] = 0xFFFF_FFFF
    return words.tobytes()


def _u64(words: NDArray[np.uint32], at: int) -> int:
    return int(words[at]) | int(words[at + 1]) << 32
