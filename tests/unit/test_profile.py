"""The profile record: versions, damage, and the packed event."""

from __future__ import annotations

import numpy as np
import pytest

from fraudstream.errors import ProfileError
from fraudstream.features.engine import FeatureEngine
from fraudstream.state import profile
from fraudstream.state.event import ABSENT, EVENT_WORDS, NO_PLACE, hash16, hash32, pack, pack_place, to_cents
from fraudstream.state.profile import EMPTY, upgrade, view
from fraudstream.transaction import Transaction


def record() -> bytes:
    transaction = Transaction("t1", "u1", 12.34, "shop", category="food", latitude=52.52, longitude=13.40)
    events = pack([transaction], [1_700_000_000])
    return FeatureEngine(3600).run([EMPTY], np.zeros(1, np.int64), events, np.zeros(1, np.int64)).records[0]


def test_a_record_reads_back_what_went_in() -> None:
    seen = view(record())
    assert seen is not None
    assert (seen.count, seen.amount_sum, seen.amounts, seen.times_s) == (1, 12.34, [12.34], [1_700_000_000])
    assert seen.hours[22] == 1


def test_a_user_never_seen_has_no_view() -> None:
    assert view(EMPTY) is None


@pytest.mark.parametrize("damage", [slice(0, -1), slice(0, 40), slice(0, 1), slice(4, None)])
def test_a_damaged_record_is_refused(damage: slice) -> None:
    with pytest.raises(ProfileError, match="expected a profile"):
        upgrade(record()[damage])


def test_a_record_of_a_newer_version_is_refused_with_what_to_do() -> None:
    newer = (profile.VERSION + 1).to_bytes(2, "little") + record()[2:]
    with pytest.raises(ProfileError, match="run the newer version"):
        upgrade(newer)


def test_an_older_record_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    today = record()
    older = b"\0\0" + today[2:]
    monkeypatch.setitem(profile.UPGRADES, 0, lambda old: profile.VERSION.to_bytes(2, "little") + old[2:])
    assert upgrade(older) == today
    assert upgrade(today) is today


def test_hashes_never_change_between_versions() -> None:
    assert (hash32("Starbucks"), hash16("food")) == (2_569_425_551, 12_068)


def test_absent_fields_have_their_own_marks() -> None:
    words = pack([Transaction("t", "u", 0.0, "m")], [5])[0]
    assert len(words) == EVENT_WORDS
    assert words[5:].tolist() == [ABSENT, ABSENT, NO_PLACE]


@pytest.mark.parametrize(
    ("amount", "cents"), [(0.0, 0), (0.005, 1), (1.1, 110), (45.67, 4567), (42_949_672.95, 2**32 - 1)]
)
def test_amounts_become_whole_cents(amount: float, cents: int) -> None:
    assert to_cents(amount) == cents


def test_no_coordinates_on_earth_look_like_none() -> None:
    for latitude in (-90.0, 0.0, 90.0):
        for longitude in (-180.0, 0.0, 180.0):
            assert pack_place(latitude, longitude) != NO_PLACE
