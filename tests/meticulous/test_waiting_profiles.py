"""The buffer before the cache, held against a dict that never forgets and a list of who waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.agents.caching import Waiting
from fraudstream.state.profile import source_offset
from tests.profiles import record_at

USERS = st.integers(0, 12).map(lambda number: b"u%d" % number)
ADD = st.tuples(st.just("add"), st.integers(0, 2), st.lists(st.tuples(USERS, st.integers(-1, 6)), max_size=8))
TAKE = st.tuples(st.just("take"), st.integers(0, 5), st.none())


@dataclass
class NaiveWaiting:
    """Does the same with a list of (user, partition, record) in the order in which users began to wait."""

    size: int
    rows: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    dropped: int = 0

    def add(self, partition: int, records: list[tuple[bytes, bytes]]) -> set[int]:
        for user, record in records:
            at = next((at for at, row in enumerate(self.rows) if row[0] == user), None)
            if at is None:
                self.rows.append((user, partition, record))
            elif source_offset(self.rows[at][2]) <= source_offset(record):
                self.rows[at] = (user, partition, record)
        lost: set[int] = set()
        while len(self.rows) > self.size:
            lost.add(self.rows.pop(0)[1])
            self.dropped += 1
        return lost

    def take(self, count: int) -> dict[bytes, tuple[int, bytes]]:
        taken, self.rows = self.rows[:count], self.rows[count:]
        return {user: (partition, record) for user, partition, record in taken}


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 8), st.lists(ADD | TAKE, max_size=30))
def test_the_newest_record_of_each_user_waits_in_order_and_the_longest_waiting_go_first(
    size: int, steps: list[tuple[str, int, list[tuple[bytes, int]] | None]]
) -> None:
    waiting, naive = Waiting(size), NaiveWaiting(size)
    dropped = mark = 0
    for name, number, users in steps:
        if name == "add":
            records = [(user, record_at(offset, mark := mark + 1)) for user, offset in users or ()]
            too_many = waiting.add(number, records)
            lost = waiting.drop() if too_many > 0 else set()
            dropped += max(too_many, 0)
            assert lost == naive.add(number, records)
        else:
            assert list(waiting.take(number).items()) == list(naive.take(number).items())
        assert len(waiting) == len(naive.rows) <= size
    assert dropped == naive.dropped
    assert waiting.take(size) == naive.take(size)
