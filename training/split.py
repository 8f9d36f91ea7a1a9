"""Which part of a history a model learns from; the rest of it only fills the profiles.

Labels are not read in training, so neither a label delay nor known cards play a part here; and every member is fitted
for a fixed number of rounds, so no rows are held back to stop it early.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from fraudstream.errors import ModelError, SettingsError
from fraudstream.training.history import History, Moment, moment_ns
from fraudstream.training.times import NS_PER_S

WARM_UP_DAYS = 30
"""In the first month every user is new; what that looks like is not what a model should call usual."""
WARM_UP_SHARE = 3
"""Of a short stream no more than one part in so many is given to the warm-up."""

_WARM_UP_NS = WARM_UP_DAYS * 86_400 * NS_PER_S


def check_borders(since: Moment, until: Moment) -> None:
    """Refuses borders between which no time lies.

    Raises:
        SettingsError: one of them is no time, or `until` is not after `since`.
    """
    borders_ns = [None if moment is None else moment_ns(moment) for moment in (since, until)]
    if borders_ns[0] is not None and borders_ns[1] is not None and borders_ns[1] <= borders_ns[0]:
        raise SettingsError(f"expected --until after --since, got --since {since} and --until {until}; exchange them")


def first_row(history: History, since: Moment) -> int:
    """The first row to learn from: the first at or after `since`, by default the first after the warm-up."""
    if since is not None:
        return len(history.between(until=since))
    times_ns = history.numbers("timestamp")
    if len(times_ns) == 0:
        return 0
    warm_up_ns = min(_WARM_UP_NS, int(times_ns[-1] - times_ns[0]) // WARM_UP_SHARE)
    return int(times_ns.searchsorted(times_ns[0] + warm_up_ns))


def enough_rows(history: History, since: Moment, fewest: int) -> int:
    """The first row to learn from, where enough follow it.

    Raises:
        ModelError: there are fewer rows to learn from than `fewest`.
    """
    first = first_row(history, since)
    rows = len(history) - first
    if rows >= fewest:
        return first
    why = f"from {since} on" if since is not None else f"after the first {first:,}, in which users are new"
    todo = "use a longer file"
    if len(history) >= fewest:
        earliest = datetime.fromtimestamp(int(history.numbers("timestamp")[0]) // NS_PER_S, UTC)
        todo = f"use a longer file, or learn from earlier on: --since {earliest:%Y-%m-%dT%H:%M:%SZ} takes every row"
    raise ModelError(
        f"expected at least {fewest:,} transactions to learn from, got {rows:,} of {len(history):,} {why}; {todo}"
    )


def learnt(history: History, first: int) -> History:
    """The transactions from row `first` on, each once: a duplicate is no transaction of its own."""
    names = ["user_id", "transaction_id"]
    rows = pa.array(np.arange(len(history)))
    firsts = history.table.select(names).append_column("row", rows).group_by(names).aggregate([("row", "min")])
    if firsts.num_rows == len(history):
        return History(history.table.slice(first))
    kept = np.sort(firsts["row_min"].to_numpy())
    return History(history.table.take(pa.array(kept[kept >= first])))
