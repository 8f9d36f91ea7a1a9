"""Cards that are known to be compromised, against the protocol as the Handbook tells it, day by day."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fraudstream.training.known_cards import KNOWN_WEEK_DAYS, unknown_until_judged

rows = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.booleans()), min_size=1, max_size=50)


@given(rows, st.integers(0, 40), st.integers(0, 9))
def test_a_card_is_left_out_once_its_fraud_is_known(
    drawn: list[tuple[int, int, bool]], first_day: int, delay_days: int
) -> None:
    drawn.sort(key=lambda row: row[0])
    day, user = (np.array([row[at] for row in drawn], np.int64) for at in (0, 1))
    judged = np.flatnonzero(day >= first_day)
    found = unknown_until_judged(day, user.astype(np.int32), np.array([row[2] for row in drawn]), judged, delay_days)
    expected = []
    for today, card, _ in drawn:
        if today < first_day:
            continue
        earliest = day[judged[0]] - delay_days - KNOWN_WEEK_DAYS
        known = {who for when, who, is_fraud in drawn if is_fraud and earliest <= when < today - delay_days}
        expected.append(card not in known)
    assert found.tolist() == expected
