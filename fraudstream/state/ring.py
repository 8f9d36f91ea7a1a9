"""Profiles in the arena, compiled: unpacking records, finding and inserting an event, pruning, packing again.

The arena is one array of words that holds the profiles of a micro-batch side by side, each with room for what the
batch may add. Prune and cap happen per event, so results do not depend on where a batch ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.state.event import CENTS, EVENT_WORDS, ID_HIGH, ID_LOW, TIME
from fraudstream.state.profile import (
    COUNT,
    FIRST,
    FLOOR,
    HEADER_WORDS,
    HISTOGRAM,
    HOURS,
    NEWEST,
    OFFSET,
    RING_EVENTS,
    SEQUENCE_EVENTS,
    SUM_CENTS,
    SUM_LOG,
    SUM_LOG_SQUARED,
    VERSION,
    VERSION_AND_SIZE,
)

Words = NDArray[np.uint32]

HOUR_S = 3600
HOUR_LIMIT = 0xFFFF


@inlined
def unpack(
    records: Words,
    starts: NDArray[np.int64],
    arena: Words,
    bases: NDArray[np.int64],
    capacities: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Copies each user's record into its slot; `capacities` come in as the events to add, go out as the room."""
    users = len(starts) - 1
    for user in range(users):
        source = starts[user]
        held = np.int64(records[source]) >> 16 if starts[user + 1] > source else 0
        ends[user] = held
        capacities[user] += held
        base, capacity = bases[user], capacities[user]
        bases[user + 1] = base + HEADER_WORDS + EVENT_WORDS * capacity
        if starts[user + 1] == source:
            arena[base : base + HEADER_WORDS] = 0
            continue
        arena[base : base + HEADER_WORDS] = records[source : source + HEADER_WORDS]
        for column in range(EVENT_WORDS):
            to, come = base + HEADER_WORDS + column * capacity, source + HEADER_WORDS + column * held
            arena[to : to + held] = records[come : come + held]


@inlined
def pack(
    arena: Words,
    bases: NDArray[np.int64],
    capacities: NDArray[np.int64],
    firsts: NDArray[np.int64],
    ends: NDArray[np.int64],
    records: Words,
    starts: NDArray[np.int64],
) -> None:
    """Writes every profile as a record, side by side; `starts` gets their borders, in words."""
    at = 0
    for user in range(len(ends)):
        base, capacity, held = bases[user], capacities[user], ends[user] - firsts[user]
        starts[user] = at
        arena[base + VERSION_AND_SIZE] = VERSION | held << 16
        records[at : at + HEADER_WORDS] = arena[base : base + HEADER_WORDS]
        at += HEADER_WORDS
        for column in range(EVENT_WORDS):
            come = base + HEADER_WORDS + column * capacity + firsts[user]
            records[at : at + held] = arena[come : come + held]
            at += held
    starts[len(ends)] = at


@inlined
def find(arena: Words, base: Int, capacity: Int, first: Int, end: Int, event: Words) -> Int:
    """Position of the event with the same transaction id, or -1."""
    low, high = base + HEADER_WORDS + ID_LOW * capacity, base + HEADER_WORDS + ID_HIGH * capacity
    for i in range(end - 1, first - 1, -1):
        if arena[low + i] == event[ID_LOW] and arena[high + i] == event[ID_HIGH]:
            return i
    return -1


@inlined
def position(arena: Words, base: Int, capacity: Int, first: Int, end: Int, time: Int) -> Int:
    """Where an event of this time belongs: behind all that are not newer."""
    times = base + HEADER_WORDS + TIME * capacity
    at = end
    while at > first and np.int64(arena[times + at - 1]) > time:
        at -= 1
    return at


@inlined
def is_storable(arena: Words, base: Int, time: Int, retention_s: Int) -> bool:
    """False for an event older than the ring: its id could not be kept, so its duplicate would count again."""
    if arena[base + COUNT] == 0:
        return True
    floor, newest = np.int64(arena[base + FLOOR]), np.int64(arena[base + NEWEST])
    return bool(time > floor and time > newest - retention_s)


@inlined
def _add_u64(arena: Words, at: Int, value: Int) -> None:
    total = (np.uint64(arena[at]) | np.uint64(arena[at + 1]) << np.uint64(32)) + np.uint64(value)
    arena[at] = np.uint32(total & np.uint64(0xFFFF_FFFF))
    arena[at + 1] = np.uint32(total >> np.uint64(32))


@inlined
def insert(
    arena: Words, base: Int, capacity: Int, first: Int, end: Int, at: Int, event: Words, steps: Int, retention_s: Int
) -> tuple[Int, Int]:
    """Puts an event in and drops what the ring no longer keeps (`steps`: its log amount). Returns (first, end)."""
    for column in range(EVENT_WORDS):
        words = base + HEADER_WORDS + column * capacity
        for i in range(end, at, -1):
            arena[words + i] = arena[words + i - 1]
        arena[words + at] = event[column]
    end += 1
    time = np.int64(event[TIME])
    is_first = arena[base + COUNT] == 0
    arena[base + FIRST] = np.uint32(time if is_first else min(np.int64(arena[base + FIRST]), time))
    arena[base + NEWEST] = np.uint32(max(np.int64(arena[base + NEWEST]), time))
    arena[base + COUNT] += np.uint32(1)
    _add_u64(arena, base + SUM_CENTS, event[CENTS])
    _add_u64(arena, base + SUM_LOG, steps)
    _add_u64(arena, base + SUM_LOG_SQUARED, steps * steps)
    hour = time // HOUR_S % HOURS
    word, shift = base + HISTOGRAM + (hour >> 1), np.int64(16 * (hour & 1))
    if np.int64(arena[word]) >> shift & HOUR_LIMIT < HOUR_LIMIT:
        arena[word] = np.uint32(np.int64(arena[word]) + (np.int64(1) << shift))
    return prune(arena, base, capacity, first, end, retention_s)


@inlined
def prune(arena: Words, base: Int, capacity: Int, first: Int, end: Int, retention_s: Int) -> tuple[Int, Int]:
    """Drops events out of retention and over the cap, and remembers the newest time dropped. Returns (first, end)."""
    times = base + HEADER_WORDS + TIME * capacity
    oldest_kept = np.int64(arena[base + NEWEST]) - retention_s
    while end - first > SEQUENCE_EVENTS and (
        np.int64(arena[times + first]) <= oldest_kept or end - first > RING_EVENTS
    ):
        arena[base + FLOOR] = np.uint32(max(np.int64(arena[base + FLOOR]), np.int64(arena[times + first])))
        first += 1
    return first, end


@inlined
def remember_offset(arena: Words, base: Int, offset: Int) -> None:
    """Notes the source offset that this profile has seen."""
    arena[base + OFFSET] = np.uint32(offset & np.int64(0xFFFF_FFFF))
    arena[base + OFFSET + 1] = np.uint32(offset >> np.int64(32))
