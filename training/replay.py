"""Plays a history through the feature engine the way a worker would, with the profiles in memory, on all cores.

There is one way to compute a feature: this file only feeds rows to it. A user's features depend on this user's rows
alone, so users are shared out among the cores, and each user's rows go through the engine in the history's order. The
result is the same to the bit, however many cores and however large the batches are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import OWN_FEATURES
from fraudstream.features.engine import SEQUENCE_COLUMNS, SEQUENCE_STEPS, ComputedRows, FeatureEngine
from fraudstream.features.kernel import FEATURE_COUNT
from fraudstream.features.reference import Reference
from fraudstream.state.profile import EMPTY
from fraudstream.training.cores import Cores
from fraudstream.training.history import History
from fraudstream.training.packing import PackedHistory, pack_history
from fraudstream.training.times import NS_PER_S

BATCH_ROWS = 4096

Progress = Callable[[int, int], None]
"""Called with rows done and rows in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a replay gives, one row for each transaction that was kept.

    Attributes:
        features: (n, FEATURE_COUNT) the catalogue's features.
        sequences: (n, SEQUENCE_STEPS, SEQUENCE_COLUMNS) the event (last) and the ten before it.
        time_s: (n,) event time in whole seconds since 1970.
        status: (n,) IN_ORDER, LATE or DUPLICATE of the engine.
        is_fraud: (n,) labels, 0 where the history has none: for judging, never for fitting.
        reference: what the features compare with.
        profiles: record of every user after the last row.
    """

    features: NDArray[np.float32]
    sequences: NDArray[np.uint32]
    time_s: NDArray[np.int64]
    status: NDArray[np.uint8]
    is_fraud: NDArray[np.int8]
    reference: Reference = field(repr=False)
    profiles: dict[str, bytes] = field(repr=False)

    def __len__(self) -> int:
        return len(self.time_s)


def replay_features(
    history: History,
    allowed_lateness_s: int,
    reference: Reference,
    *,
    batch: int = BATCH_ROWS,
    skip_rows: int = 0,
    profiles: dict[str, bytes] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Replay:
    """Features and sequences of every transaction, point in time, in the history's order.

    Args:
        history: transactions in the order of their time; row i counts as source offset i.
        allowed_lateness_s: as the worker's setting.
        reference: what is usual for a category and for everybody, as the model will hold it.
        batch: rows per call of the engine; the result does not depend on it.
        skip_rows: so many first rows only fill the profiles and are left out of the result.
        profiles: records to begin with (default: none); changed in place.
        progress: told now and then.
        workers: cores to use (default: all); the result does not depend on it.
    """
    packed = pack_history(history)
    records = {} if profiles is None else profiles
    with Cores(workers) as cores:
        stream = FeatureStream(packed, FeatureEngine(allowed_lateness_s, reference).again, cores, records, batch)
        computed = stream.compute(0, len(packed), skip_rows, progress)
    records |= stream.profiles()
    return Replay(
        features=computed.features,
        sequences=computed.sequences,
        time_s=history.numbers("timestamp")[skip_rows:] // NS_PER_S,
        status=computed.status,
        is_fraud=_labels(history)[skip_rows:],
        reference=reference,
        profiles=records,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows(ComputedRows):
    """Room for what is computed."""

    failed: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class FeatureStream:
    """The features of a packed history, one stretch of rows after the other; remembers the profiles between them.

    Args:
        packed: the rows; row i counts as source offset i.
        make_engine: an engine for each core, all alike.
        cores: on which to compute.
        profiles: records that users have before the first row.
        batch: rows per call of an engine.
    """

    def __init__(
        self,
        packed: PackedHistory,
        make_engine: Callable[[], FeatureEngine],
        cores: Cores,
        profiles: Mapping[str, bytes],
        batch: int = BATCH_ROWS,
    ) -> None:
        self._packed = packed
        # Features of one's own are Python, which runs on one core whatever is done.
        self._cores = cores if not OWN_FEATURES else Cores(1)
        self._engines = [make_engine() for _ in range(self._cores.workers)]
        self._records = [profiles.get(name, EMPTY) for name in packed.names]
        self._batch = batch

    def profiles(self) -> dict[str, bytes]:
        """The record of each user who has one, as it is now."""
        return {name: record for name, record in zip(self._packed.names, self._records, strict=True) if record}

    def compute(self, start: int, stop: int, skip: int = 0, progress: Progress | None = None) -> ComputedRows:
        """The rows from `start` to `stop`, which must follow on what was computed before.

        Args:
            skip: so many first rows only fill the profiles and are left out of the result.
            progress: told now and then.
        """
        kept = max(stop - start - skip, 0)
        into = _Rows(
            features=np.empty((kept, FEATURE_COUNT), np.float32),
            sequences=np.empty((kept, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32),
            status=np.empty(kept, np.uint8),
        )
        tasks = (partial(self._users, rows, start + skip, into) for rows in self._by_user(start, stop))
        done = 0
        for rows in self._cores.map(tasks):
            done += rows
            if progress is not None:
                progress(done, stop - start)
        return into

    def _by_user(self, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
        """The rows, user by user: all of some users at a time, about a batch, a user's in the history's order."""
        users = self._packed.users[start:stop]
        order = np.argsort(users, kind="stable")
        ends = np.flatnonzero(np.diff(users[order], append=-1)) + 1  # where each user's end
        begin = 0
        while begin < len(order):
            end = int(ends[min(int(np.searchsorted(ends, begin + self._batch)), len(ends) - 1)])
            yield order[begin:end] + start
            begin = end

    def _users(self, rows: NDArray[np.int64], first: int, into: _Rows) -> int:
        """Computes all rows of some users, those from row `first` on into `into`; returns how many rows they are."""
        engine = self._engines.pop()
        for at in range(0, len(rows), self._batch):
            self._run(engine, rows[at : at + self._batch], first, into)
        self._engines.append(engine)
        return len(rows)

    def _run(self, engine: FeatureEngine, rows: NDArray[np.int64], first: int, into: _Rows) -> None:
        users = self._packed.users[rows]
        is_next = np.diff(users, prepend=-1) != 0
        distinct = users[is_next].tolist()
        computed = engine.run(
            [self._records[user] for user in distinct], np.cumsum(is_next) - 1, self._packed.words[rows], rows
        )
        for user, record in zip(distinct, computed.records, strict=True):
            self._records[user] = record
        kept = rows >= first
        places = rows[kept] - first
        into.features[places], into.sequences[places] = computed.features[kept], computed.sequences[kept]
        into.status[places] = computed.status[kept]
        for name, in_rows in computed.failed.items():
            into.failed.setdefault(name, np.zeros(len(into.status), np.bool_))[places] = in_rows[kept]


def _labels(history: History) -> NDArray[np.int8]:
    if "is_fraud" in history:
        return np.asarray(history.numbers("is_fraud"), np.int8)
    return np.zeros(len(history), np.int8)
