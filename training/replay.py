"""Plays a history through the feature engine the way a worker would, with the profiles in a dict, for training.

There is one way to compute a feature: this file only feeds rows to it, in the order of their time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraudstream.features.engine import SEQUENCE_COLUMNS, SEQUENCE_STEPS, FeatureEngine
from fraudstream.features.kernel import FEATURE_COUNT
from fraudstream.features.reference import Reference
from fraudstream.state.event import pack
from fraudstream.state.profile import EMPTY
from fraudstream.training.history import History
from fraudstream.transaction import Transaction

BATCH_ROWS = 4096

_NS_PER_S = 1_000_000_000
_OPTIONAL_TEXTS = ("category", "location", "device_id", "currency")

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
) -> Replay:
    """Features and sequences of every transaction, point in time, in the history's order.

    Args:
        history: transactions in the order of their time; row i counts as source offset i.
        allowed_lateness_s: as the worker's setting.
        reference: what is usual for a category and for everybody, as the model will hold it.
        batch: rows per call of the engine; the result does not depend on it.
        skip_rows: so many first rows only fill the profiles and are left out of the result.
        profiles: records to begin with (default: none); changed in place.
        progress: told after each batch.
    """
    engine = FeatureEngine(allowed_lateness_s, reference)
    records = {} if profiles is None else profiles
    kept = max(len(history) - skip_rows, 0)
    features = np.empty((kept, FEATURE_COUNT), np.float32)
    sequences = np.empty((kept, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
    status = np.empty(kept, np.uint8)
    times_s = history.numbers("timestamp") // _NS_PER_S
    for start in range(0, len(history), batch):
        chunk = list(transactions(History(history.table.slice(start, batch))))
        names = list(dict.fromkeys(transaction.user_id for transaction in chunk))
        index = {name: at for at, name in enumerate(names)}
        stop = start + len(chunk)
        computed = engine.run(
            [records.get(name, EMPTY) for name in names],
            np.array([index[transaction.user_id] for transaction in chunk], np.int64),
            pack(chunk, times_s[start:stop]),
            np.arange(start, stop, dtype=np.int64),
        )
        records.update(zip(names, computed.records, strict=True))
        keep = max(skip_rows - start, 0)
        if keep < len(chunk):
            rows = slice(start + keep - skip_rows, stop - skip_rows)
            features[rows], sequences[rows] = computed.features[keep:], computed.sequences[keep:]
            status[rows] = computed.status[keep:]
        if progress is not None:
            progress(stop, len(history))
    return Replay(
        features=features,
        sequences=sequences,
        time_s=times_s[skip_rows:],
        status=status,
        is_fraud=_labels(history)[skip_rows:],
        reference=reference,
        profiles=records,
    )


def transactions(history: History) -> Iterator[Transaction]:
    """The rows of a history as the wire's type; without timestamps, which travel beside them in whole seconds."""
    absent = [None] * len(history)
    columns = {name: history.table[name].to_pylist() for name in ("transaction_id", "user_id", "amount", "merchant")}
    texts = [history.table[name].to_pylist() if name in history else absent for name in _OPTIONAL_TEXTS]
    # float32 widened to float64 is the number that a message carries.
    latitudes, longitudes = (
        history.table[name].cast(pa.float64()).to_pylist() if name in history else absent
        for name in ("latitude", "longitude")
    )
    categories, locations, devices, currencies = texts
    stamps = absent
    return map(
        Transaction,
        *columns.values(),
        categories,
        locations,
        devices,
        stamps,
        latitudes,
        longitudes,
        currencies,
    )


def _labels(history: History) -> NDArray[np.int8]:
    if "is_fraud" in history:
        return np.asarray(history.numbers("is_fraud"), np.int8)
    return np.zeros(len(history), np.int8)
