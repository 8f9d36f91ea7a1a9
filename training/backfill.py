"""Profiles from a history, user by user: what a worker would hold of each user, had the history been streamed.

Rows become the bytes that travel and are read as a worker reads them, so what a worker would refuse is refused here.
A user's profile depends on this user's transactions alone: sorted by user, no more than a batch is held in memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fraudstream.errors import RefusedInput
from fraudstream.features.engine import FeatureEngine
from fraudstream.state.event import pack
from fraudstream.state.profile import EMPTY, without_offset
from fraudstream.training.history import History
from fraudstream.training.messages import encode_chunks
from fraudstream.transaction import Transaction, decode_transaction

BATCH_ROWS = 4096

KeyAndRecord = tuple[bytes, bytes]
"""A user's message key and profile record."""


@dataclass(slots=True)
class Counts:
    """What became of the rows so far.

    Attributes:
        rows: read.
        skipped: rows that a worker would have sent to dead-letters, by reason.
        users: with a profile.
    """

    rows: int = 0
    users: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def final_profiles(
    history: History,
    engine: FeatureEngine,
    counts: Counts | None = None,
    *,
    batch: int = BATCH_ROWS,
    progress: Callable[[int], None] | None = None,
) -> Iterator[list[KeyAndRecord]]:
    """Each user's record after the last row, without a source offset, some users at a time, each user once.

    Args:
        history: transactions in the order of their time.
        engine: of the model that the worker scores with.
        counts: told what became of the rows.
        batch: rows per call of the engine; the result does not depend on it.
        progress: told the rows done after each batch.
    """
    counts = Counts() if counts is None else counts
    order = np.argsort(history.codes("user_id").codes, kind="stable")  # stable: a user's rows stay in their order
    by_user = History(history.table.take(pa.array(order)))
    received_s = time.time()
    open_user: tuple[bytes, bytes] | None = None
    """The last user of a batch, who may go on in the next one."""
    for messages in encode_chunks(by_user, batch):
        accepted = list(_accepted(messages, received_s, counts))
        done: list[KeyAndRecord] = []
        if accepted:
            records = _run(engine, accepted, open_user, counts.rows)
            if open_user is not None and open_user[0] not in records:
                done.append(open_user)
            *whole, open_user = records.items()
            done += whole
        counts.rows += len(messages)
        yield _finished(done, counts)
        if progress is not None:
            progress(counts.rows)
    if open_user is not None:
        yield _finished([open_user], counts)


def _accepted(
    messages: Sequence[tuple[bytes, bytes]], received_s: float, counts: Counts
) -> Iterator[tuple[bytes, Transaction, int]]:
    for key, value in messages:
        try:
            transaction = decode_transaction(value)
            yield key, transaction, transaction.time_s(received_s)
        except RefusedInput as refused:
            counts.skipped[refused.reason] += 1


def _run(
    engine: FeatureEngine,
    accepted: Sequence[tuple[bytes, Transaction, int]],
    open_user: KeyAndRecord | None,
    first_offset: int,
) -> dict[bytes, bytes]:
    """The records of these users after these transactions, in the order of the users."""
    held = dict([open_user] if open_user else [])
    slots: dict[bytes, int] = {}
    users = np.array([slots.setdefault(key, len(slots)) for key, _, _ in accepted], np.int64)
    computed = engine.run(
        [held.get(key, EMPTY) for key in slots],
        users,
        pack([transaction for _, transaction, _ in accepted], [time_s for _, _, time_s in accepted]),
        np.arange(first_offset, first_offset + len(accepted), dtype=np.int64),
    )
    return dict(zip(slots, computed.records, strict=True))


def _finished(done: list[KeyAndRecord], counts: Counts) -> list[KeyAndRecord]:
    counts.users += len(done)
    return [(key, without_offset(record)) for key, record in done]
