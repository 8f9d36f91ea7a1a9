"""Slices grow and shrink until each holds the event loop for as long as it may."""

from __future__ import annotations

import pytest

from fraudstream.agents.slices import HELD_S, LARGEST, SMALLEST, Slices


class Numbers:
    """Counts from 0."""

    def __init__(self, count: int) -> None:
        self._left = list(range(count))

    def is_at_end(self) -> bool:
        return not self._left

    def read(self, most: int) -> list[int]:
        part, self._left = self._left[:most], self._left[most:]
        return part


@pytest.mark.parametrize("record_s", [5e-6, 2e-5, 4e-5, 1e-4, 1e-3])
def test_a_slice_takes_as_long_as_it_may(record_s: float) -> None:
    slices = Slices()
    for part in slices.of(Numbers(40 * LARGEST)):
        slices.learn(len(part), len(part) * record_s)
    expected = min(max(HELD_S / record_s, SMALLEST), LARGEST)
    assert slices.records == pytest.approx(expected, abs=1)


def test_nothing_is_left_out_or_given_twice() -> None:
    slices, seen = Slices(), list[int]()
    for part in slices.of(Numbers(5_000)):
        seen += part
        slices.learn(len(part), len(part) * 1e-4)
    assert seen == list(range(5_000))
    assert list(slices.of(Numbers(0))) == []


def test_small_slices_tell_nothing_and_one_pause_does_not_count_for_all() -> None:
    slices = Slices()
    slices.learn(4, 0.004)
    assert slices.records == LARGEST
    slices.learn(LARGEST, 1.0)
    assert slices.records > LARGEST / 2
