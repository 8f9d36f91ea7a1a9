"""A profile that was filled elsewhere begins a new stream: none of its records may be taken for a redelivered one."""

from __future__ import annotations

import numpy as np
import pytest

from fraudstream.errors import ProfileError
from fraudstream.features.engine import DUPLICATE, IN_ORDER, Computed, FeatureEngine
from fraudstream.state.event import pack
from fraudstream.state.profile import EMPTY, view, without_offset
from fraudstream.transaction import Transaction


def judge(record: bytes, transaction_id: str, time_s: int, offset: int) -> Computed:
    event = pack([Transaction(transaction_id, "u", 5.0, "m")], [time_s])
    return FeatureEngine(3600).run([record], np.zeros(1, np.int64), event, np.array([offset], np.int64))


def test_the_first_offsets_of_a_new_stream_change_a_profile_without_offset() -> None:
    filled = judge(EMPTY, "a", 1_700_000_000, 41).records[0]
    assert judge(filled, "b", 1_700_000_100, 0).status[0] == DUPLICATE  # what happens without it
    moved = without_offset(filled)
    after = judge(moved, "b", 1_700_000_100, 0)
    assert after.status[0] == IN_ORDER
    seen = view(after.records[0])
    assert seen is not None
    assert (seen.count, seen.source_offset) == (2, 0)


def test_only_the_offset_of_a_profile_is_forgotten() -> None:
    filled = judge(EMPTY, "a", 1_700_000_000, 41).records[0]
    moved = without_offset(filled)
    before, after = view(filled), view(moved)
    assert before is not None
    assert after is not None
    assert (before.source_offset, after.source_offset) == (41, -1)
    assert (before.count, before.times_s, before.amounts) == (after.count, after.times_s, after.amounts)
    assert judge(moved, "a", 1_700_000_000, 0).status[0] == DUPLICATE  # the transaction id is still known


def test_a_damaged_profile_is_refused() -> None:
    with pytest.raises(ProfileError, match="got 3 bytes"):
        without_offset(b"abc")
