"""Computes the features of a micro-batch and the profiles that follow from it: the one entrance to the kernel.

Pure with respect to the store: records go in and come out as bytes. A batch of any size gives bit-identical results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled
from fraudstream.features.catalogue import OWN_FEATURES
from fraudstream.features.kernel import KERNEL_FEATURES, features_of
from fraudstream.features.lifetime import log_steps, read_u64
from fraudstream.features.own import OwnColumns, OwnFeature
from fraudstream.features.reference import NEUTRAL, Reference, Tables
from fraudstream.features.windows import DISTINCT_SLOTS, MONTH_S
from fraudstream.state import ring
from fraudstream.state.event import CATEGORY_LOCATION, CENTS, EVENT_WORDS, TIME
from fraudstream.state.profile import COUNT, HEADER_WORDS, NEWEST, OFFSET, RING_EVENTS, SEQUENCE_EVENTS, WORD_BYTES

Words = NDArray[np.uint32]

IN_ORDER, LATE, DUPLICATE = 0, 1, 2
"""An event's status; a late event is stored where the ring still reaches back to it, a duplicate changes nothing."""

SEQUENCE_STEPS = SEQUENCE_EVENTS + 1
SEQUENCE_TIME, SEQUENCE_CENTS, SEQUENCE_CATEGORY = range(3)
SEQUENCE_COLUMNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedRows:
    """What is computed of each event.

    Attributes:
        features: (events, FEATURE_COUNT) the catalogue's features.
        sequences: (events, SEQUENCE_STEPS, SEQUENCE_COLUMNS) time in s, cents and category hash of the event (last)
            and of the ten before it, oldest first; a time of 0 marks an empty step.
        status: (events,) IN_ORDER, LATE or DUPLICATE.
        failed: features of one's own that could not be computed -> (events,) in which rows; they count as 0 there.
    """

    features: NDArray[np.float32]
    sequences: NDArray[np.uint32]
    status: NDArray[np.uint8]
    failed: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def failed_of(self, row: int) -> tuple[str, ...]:
        """Features that could not be computed for this row."""
        return tuple(name for name, rows in self.failed.items() if rows[row])

    def part(self, rows: slice) -> ComputedRows:
        """The same of some of the events, without copying."""
        return ComputedRows(
            features=self.features[rows],
            sequences=self.sequences[rows],
            status=self.status[rows],
            failed={name: failed[rows] for name, failed in self.failed.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed(ComputedRows):
    """What a micro-batch gives.

    Attributes:
        records: the new record of each user, in the order the old ones were given.
        changed: (users,) whether the new record differs from the old one.
    """

    records: list[bytes]
    changed: NDArray[np.bool_]


class FeatureEngine:
    """The feature computation with its declared lateness and its frozen reference.

    Args:
        reference: what is usual for a category and for everybody; comes with the model.
        allowed_lateness_s: an event at most this much older than the user's newest is computed as if it had come in
            order; an older one is marked late.
        own: features of one's own, in the order of their columns behind the built-in ones.
    """

    def __init__(
        self, allowed_lateness_s: int, reference: Reference = NEUTRAL, own: Sequence[OwnFeature] = OWN_FEATURES
    ) -> None:
        self.reference = reference
        self.allowed_lateness_s = allowed_lateness_s
        self.retention_s = MONTH_S + allowed_lateness_s
        self._seen = np.zeros((DISTINCT_SLOTS, 2), np.int64)
        self._generation = 0
        self._own = OwnColumns(own) if own else None

    def again(self) -> FeatureEngine:
        """Another one that computes the same, for another thread: each needs room of its own to work in."""
        return FeatureEngine(self.allowed_lateness_s, self.reference, () if self._own is None else self._own.features)

    def run(
        self,
        records: Sequence[bytes],
        users: NDArray[np.int64],
        events: NDArray[np.uint32],
        offsets: NDArray[np.int64],
    ) -> Computed:
        """Computes a micro-batch in the order of arrival.

        Args:
            records: current record of each distinct user, as `upgrade` gives it, `EMPTY` for a new one.
            users: (events,) index into `records`.
            events: (events, EVENT_WORDS) packed transactions.
            offsets: (events,) source offsets; one not above what the profile has seen changes nothing.
        """
        n_users, n_events = len(records), len(users)
        starts = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.fromiter(map(len, records), np.int64, n_users) // WORD_BYTES, out=starts[1:])
        held_words = int(starts[-1])
        room = held_words + n_users * HEADER_WORDS + n_events * EVENT_WORDS
        arena = np.empty(room, np.uint32)
        packed = np.empty(room, np.uint32)
        new_starts = np.empty(n_users + 1, np.int64)
        features = np.empty((n_events, KERNEL_FEATURES), np.float32)
        sequences = np.zeros((n_events, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
        status = np.empty(n_events, np.uint8)
        changed = np.zeros(n_users, np.bool_)
        pasts, past_ends = _room_for_pasts(records, users) if self._own is not None else _NO_PASTS
        _run(
            np.frombuffer(b"".join(records), np.uint32), starts, users, events, offsets,
            self.allowed_lateness_s, self.retention_s, self._seen, self._generation,
            self.reference.tables,
            arena, packed, new_starts, features, sequences, status, changed,
            pasts, past_ends,
        )  # fmt: skip
        self._generation += n_events
        failed: Mapping[str, NDArray[np.bool_]] = {}
        if self._own is not None:
            columns, failed = self._own(events, pasts, past_ends)
            features = np.concatenate([features, columns], axis=1)
        blob = packed[: new_starts[-1]].tobytes()
        cuts = (new_starts * WORD_BYTES).tolist()
        return Computed(
            records=[blob[cuts[user] : cuts[user + 1]] for user in range(n_users)],
            changed=changed,
            features=features,
            sequences=sequences,
            status=status,
            failed=failed,
        )


_NO_PASTS = np.empty((0, EVENT_WORDS), np.uint32), np.empty(0, np.int64)


def _room_for_pasts(records: Sequence[bytes], users: NDArray[np.int64]) -> tuple[Words, NDArray[np.int64]]:
    """Arrays for the earlier events of every event: at most what the profile holds and the batch adds before it."""
    held = [max(len(record) // WORD_BYTES - HEADER_WORDS, 0) // EVENT_WORDS for record in records]
    room = 0
    for user in users.tolist():
        room += min(held[user], RING_EVENTS)
        held[user] += 1
    return np.empty((room, EVENT_WORDS), np.uint32), np.empty(len(users), np.int64)


@compiled
def _run(
    records: Words,
    starts: NDArray[np.int64],
    users: NDArray[np.int64],
    events: Words,
    offsets: NDArray[np.int64],
    allowed_lateness_s: Int,
    retention_s: Int,
    seen: NDArray[np.int64],
    generation: Int,
    tables: Tables,
    arena: Words,
    packed: Words,
    new_starts: NDArray[np.int64],
    features: NDArray[np.float32],
    sequences: NDArray[np.uint32],
    status: NDArray[np.uint8],
    changed: NDArray[np.bool_],
    pasts: Words,
    past_ends: NDArray[np.int64],
) -> None:
    n_users = len(starts) - 1
    bases = np.zeros(n_users + 1, np.int64)
    capacities, firsts, ends = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
    row = np.zeros(KERNEL_FEATURES)
    keeps_pasts, past_end = len(past_ends) > 0, 0
    for i in range(len(users)):
        capacities[users[i]] += 1
    ring.unpack(records, starts, arena, bases, capacities, ends)
    for i in range(len(users)):
        user, event = users[i], events[i]
        base, capacity, first, end = bases[user], capacities[user], firsts[user], ends[user]
        time = np.int64(event[TIME])
        known = arena[base + COUNT] > 0
        redelivered = known and offsets[i] <= read_u64(arena, base + OFFSET)
        duplicate_of = ring.find(arena, base, capacity, first, end, event)
        at = ring.position(arena, base, capacity, first, end, time)
        if duplicate_of >= 0:  # judged as it was the first time, by what came before it
            at = min(at, duplicate_of)
        features_of(
            arena, base, capacity, first, at, end, event, row, seen, generation + i + 1, retention_s, tables
        )  # fmt: skip
        features[i] = row
        _sequence(arena, base, capacity, first, at, event, sequences[i])
        if keeps_pasts:
            past_end = _keep_past(arena, base, capacity, first, at, pasts, past_end)
            past_ends[i] = past_end
        status[i] = LATE if np.int64(arena[base + NEWEST]) - time > allowed_lateness_s else IN_ORDER
        if duplicate_of >= 0 or redelivered:
            status[i] = DUPLICATE
        elif ring.is_storable(arena, base, time, retention_s):
            firsts[user], ends[user] = ring.insert(
                arena, base, capacity, first, end, at, event, log_steps(np.int64(event[CENTS])), retention_s
            )
        if not redelivered:
            ring.remember_offset(arena, base, offsets[i])
            changed[user] = True
    ring.pack(arena, bases, capacities, firsts, ends, packed, new_starts)


@compiled
def _sequence(
    arena: Words, base: Int, capacity: Int, first: Int, at: Int, event: Words, steps: NDArray[np.uint32]
) -> None:
    times, cents = base + HEADER_WORDS + TIME * capacity, base + HEADER_WORDS + CENTS * capacity
    labels = base + HEADER_WORDS + CATEGORY_LOCATION * capacity
    held = min(at - first, SEQUENCE_EVENTS)
    for k in range(held):
        step, i = SEQUENCE_EVENTS - held + k, at - held + k
        steps[step, SEQUENCE_TIME] = arena[times + i]
        steps[step, SEQUENCE_CENTS] = arena[cents + i]
        steps[step, SEQUENCE_CATEGORY] = arena[labels + i] >> 16
    steps[SEQUENCE_EVENTS, SEQUENCE_TIME] = event[TIME]
    steps[SEQUENCE_EVENTS, SEQUENCE_CENTS] = event[CENTS]
    steps[SEQUENCE_EVENTS, SEQUENCE_CATEGORY] = event[CATEGORY_LOCATION] >> 16


@compiled
def _keep_past(arena: Words, base: Int, capacity: Int, first: Int, at: Int, pasts: Words, end: Int) -> Int:
    """Copies the events [first, at) of the ring, one a row, behind row `end`; returns the new end."""
    for column in range(EVENT_WORDS):
        words = base + HEADER_WORDS + column * capacity
        for k in range(at - first):
            pasts[end + k, column] = arena[words + first + k]
    return end + at - first
