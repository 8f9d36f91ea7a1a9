"""What the console knows of a transaction and a user, from the recent verdicts, the profile and the evidence store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fraudstream.detector import load_detector
from fraudstream.emitted import Emitted
from fraudstream.errors import RefusedInput
from fraudstream.evidence import ChainPosition, Evidence, read_headers
from fraudstream.pipeline import process
from fraudstream.settings import load_settings
from fraudstream.state.profile import EMPTY
from fraudstream.web.lookup import Lookup
from fraudstream.web.profile_source import FoundProfile
from fraudstream.web.recent import Recent
from tests.emitted import verdicts_of_emitted
from tests.unit.test_pipeline import START_S, message

DAY_S = 86_400
FIRST_S = START_S - 60 * DAY_S


@dataclass
class Worked:
    """A user's life as a worker judged it: a transaction each day for 40 days."""

    verdicts: list[Emitted]
    record: bytes

    async def find(self, keys: Sequence[bytes]) -> list[FoundProfile]:
        return [FoundProfile(self.record if key == b"u" else EMPTY, "table", 0.0) for key in keys]


@pytest.fixture(scope="module")
def worked() -> Worked:
    records = [message(day, "u", amount=10.0 + day, timestamp=FIRST_S + day * DAY_S) for day in range(40)]
    outcome = process(load_detector(load_settings()), records, lambda _partition, _key: EMPTY)
    return Worked(list(outcome.verdicts), next(iter(outcome.profiles.values())))


def id_of(verdict: Emitted) -> str:
    return str(msgspec.json.decode(verdict.value)["transaction_id"])


def evidence_of(verdict: Emitted, offset: int) -> Evidence:
    transaction, features = read_headers(dict(verdict.headers))
    chain = ChainPosition(verdict.partition, offset, bytes(32), bytes([offset]) * 32)
    return Evidence(id_of(verdict), "u", verdict.partition, offset, verdict.value, transaction, features, chain)


@dataclass
class Kept:
    """An evidence store in a list; `fault` is what it raises instead of an answer."""

    rows: list[Evidence] = field(default_factory=list)
    fault: Exception | None = None

    async def find(self, transaction_id: str) -> Evidence | None:
        if self.fault:
            raise self.fault
        return next((row for row in self.rows if row.transaction_id == transaction_id), None)

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        if self.fault:
            raise self.fault
        return self.rows[: -limit - 1 : -1]

    async def of_user(self, user_id: str, until: datetime | None = None) -> AsyncIterator[Evidence]:
        raise AssertionError("all of a user's evidence takes as long as there is much of it")
        yield


async def test_the_chart_holds_30_days_from_the_profile_with_names_where_a_verdict_is_recent(worked: Worked) -> None:
    recent = Recent()
    recent.add(verdicts_of_emitted(worked.verdicts[-3:]))
    found = await Lookup(recent, worked).transaction(id_of(worked.verdicts[-1]))
    assert found is not None
    history = found.history
    assert [point.amount for point in history.points] == [10.0 + day for day in range(10, 40)]
    assert history.until == datetime.fromtimestamp(FIRST_S + 39 * DAY_S, UTC)
    assert [point.transaction_id is not None for point in history.points] == [False] * 27 + [True] * 3
    assert history.points[-1].transaction_id == id_of(worked.verdicts[-1])
    assert history.median_amount == 34.0, "of the others: 20 to 48"
    assert (history.transactions, history.mean_amount) == (40, 29.5)
    assert history.complete_since is None
    assert msgspec.json.decode(found.verdict) == msgspec.json.decode(worked.verdicts[-1].value)


async def test_an_old_transaction_has_the_30_days_before_it(worked: Worked) -> None:
    recent = Recent()
    recent.add(verdicts_of_emitted(worked.verdicts))
    found = await Lookup(recent, worked).transaction(id_of(worked.verdicts[5]))
    assert found is not None
    assert found.history.until == datetime.fromtimestamp(FIRST_S + 5 * DAY_S, UTC)
    assert [point.amount for point in found.history.points] == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


async def test_what_memory_has_forgotten_is_found_in_the_store_with_its_place_in_the_chain(worked: Worked) -> None:
    store = Kept([evidence_of(verdict, at) for at, verdict in enumerate(worked.verdicts)])
    lookup = Lookup(Recent(), worked, store)
    found = await lookup.transaction(id_of(worked.verdicts[38]))
    assert found is not None
    assert found.chain is not None
    assert found.chain.row_hash == "26" * 32
    assert all(point.transaction_id for point in found.history.points), "the store knows them all by name"
    assert found.notes == []
    user = await lookup.user("u")
    assert user is not None
    assert [row.amount for row in user.rows][:2] == [49.0, 48.0]
    answer = await lookup.search(id_of(worked.verdicts[0]))
    assert [row.amount for row in answer.transactions] == [10.0]
    assert answer.has_store


@pytest.mark.parametrize("fault", [ConnectionRefusedError("no"), TimeoutError()])
async def test_a_store_that_is_away_costs_a_note_and_nothing_else(worked: Worked, fault: Exception) -> None:
    recent = Recent()
    recent.add(verdicts_of_emitted(worked.verdicts[-1:]))
    found = await Lookup(recent, worked, Kept(fault=fault)).transaction(id_of(worked.verdicts[-1]))
    assert found is not None
    assert len(found.history.points) == 30
    assert len(found.notes) == 1, "said once, not for each question"
    assert "store did not answer" in found.notes[0]


async def test_a_user_of_another_worker_is_said_to_be_elsewhere(worked: Worked) -> None:
    class Elsewhere:
        async def find(self, keys: Sequence[bytes]) -> list[FoundProfile]:
            raise RefusedInput("not_owned", "user_id: expected a user of partitions [0], this one is of 1")

    recent = Recent()
    recent.add(verdicts_of_emitted(worked.verdicts[-2:]))
    found = await Lookup(recent, Elsewhere()).transaction(id_of(worked.verdicts[-1]))
    assert found is not None
    assert "this one is of 1" in found.notes[0]
    assert [point.amount for point in found.history.points] == [48.0, 49.0]
    assert found.history.known_since is None


async def test_a_search_finds_users_by_profile_alone_and_nobody_where_there_is_nothing(worked: Worked) -> None:
    lookup = Lookup(Recent(), worked)
    assert (await lookup.search("u")).users == ["u"]
    nothing = await lookup.search("x")
    assert (nothing.users, nothing.transactions, nothing.has_store) == ([], [], False)
    assert await lookup.transaction("x") is None
    assert await lookup.user("x") is None


async def test_a_profile_that_dropped_events_says_up_to_when() -> None:
    start = FIRST_S
    records = [message(at, "u", timestamp=start + at * 600) for at in range(300)]
    outcome = process(load_detector(load_settings()), records, lambda _partition, _key: EMPTY)
    worked = Worked(list(outcome.verdicts), next(iter(outcome.profiles.values())))
    found = await Lookup(Recent(), worked).user("u")
    assert found is not None
    assert found.history.complete_since == datetime.fromtimestamp(start, UTC) + timedelta(seconds=43 * 600)
    assert len(found.history.points) == found.history.kept_at_most == 256
