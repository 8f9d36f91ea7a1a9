"""The benchmark of recovery: its records are profiles of the size that it says, and its page says what was measured."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.profile_records import MEAN_EVENTS, UPDATES_PER_USER, changelog_records, events_kept
from benchmarks.recovery import Run, Start, page
from fraudstream.machine import this_machine
from fraudstream.state.profile import RING_EVENTS, SEQUENCE_EVENTS, view

USERS = 4_000


def test_activity_is_a_zipf_law_between_the_bounds_of_a_profile() -> None:
    kept = events_kept(USERS)
    assert kept[0] == RING_EVENTS
    assert kept[-1] >= SEQUENCE_EVENTS
    assert kept.mean() == pytest.approx(MEAN_EVENTS, abs=1)


def test_records_are_profiles_of_two_kilobytes_and_active_users_come_again() -> None:
    records = list(changelog_records(USERS))
    assert len(records) == USERS * (1 + UPDATES_PER_USER)
    assert {user for user, _, _ in records} == set(range(USERS))
    for user, _key, record in records[:200]:
        profile = view(record)
        assert profile is not None
        assert len(profile.events) == events_kept(USERS)[user]
        assert profile.times_s == sorted(profile.times_s)
    newest = {key: record for _, key, record in records}
    assert sum(map(len, newest.values())) / USERS == pytest.approx(2_000, rel=0.05)


@pytest.mark.parametrize(("restart_s", "word"), [(4.0, "reached"), (6.0, "missed")])
def test_the_page_says_whether_both_targets_were_reached(restart_s: float, word: str) -> None:
    run = Run(
        date=datetime(2026, 1, 2, tzinfo=UTC),
        machine=this_machine(()),
        broker="a broker",
        users=10,
        partitions=4,
        records=12,
        mean_bytes=2_000.0,
        load=(0.1, 0.2),
        worker=[Start(10.0, 8.0, 900.0, 5.0)] * 3,
        stock=[Start(90.0, 80.0, 300.0, 6.0)] * 3,
        restart=[Start(restart_s, 3.0, 800.0, 5.0)] * 3,
    )
    text = page(run)
    assert "9.0 (9.0–9.0) times as fast as stock Faust" in text
    assert f": {word}." in text
    assert "12 records of 2000 bytes in a changelog of 4 partitions" in text
