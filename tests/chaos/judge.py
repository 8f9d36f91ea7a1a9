"""Says what came of a scenario: what was lost, repeated, contradicted, and whose state is wrong.

Shares no code with agents/ or tables/: a plain client reads, the naive oracle computes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fraudstream.settings import Settings
from fraudstream.state.profile import source_offset
from fraudstream.topics import changelog_topic
from tests.chaos.reading import Reader
from tests.checker import Sent, UserState, state_of_record, states_by_oracle

SHOWN = 3


@dataclass(slots=True)
class Judgement:
    """What came of one scenario.

    Attributes:
        sent: transactions that the broker had acknowledged.
        verdicts: given to a `read_committed` reader.
        lost: transactions without a verdict and without an expected dead letter.
        repeated: transactions with several verdicts for a `read_committed` reader.
        repeated_uncommitted: the same for a `read_uncommitted` reader.
        contradictory: those whose verdicts differ in any byte, headers included.
        users, wrong_states: how many users there are, and for how many the last state is not the oracle's.
        older_profiles: committed profiles that stand behind a newer one of the same user.
        dead_letters: by reason.
        longest_silence_s: without a verdict in some partition, while transactions kept coming.
        takeovers: how often a partition of the changelog got a new writer.
        times_ms: when the broker got each verdict, aborted ones counted, by partition.
        problems: each broken promise, in a sentence; empty when all held.
    """

    sent: int = 0
    verdicts: int = 0
    lost: int = 0
    repeated: int = 0
    repeated_uncommitted: int = 0
    contradictory: int = 0
    users: int = 0
    wrong_states: int = 0
    older_profiles: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    longest_silence_s: float = 0.0
    takeovers: int = 0
    times_ms: dict[int, list[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Verdicts:
    """Verdicts as a reader saw them: how often each transaction, and whether all copies are the same."""

    digests: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    contradictory: set[str] = field(default_factory=set)
    flagged: set[str] = field(default_factory=set)
    times_ms: dict[int, list[int]] = field(default_factory=dict)

    def take(self, records: Iterable[Any]) -> _Verdicts:
        for record in records:
            value = record.value()
            verdict, digest = json.loads(value), hash((value, tuple(record.headers() or ())))
            name = verdict["transaction_id"]
            self.counts[name] += 1
            if verdict["flagged"]:
                self.flagged.add(name)
            if self.digests.setdefault(name, digest) != digest:
                self.contradictory.add(name)
            self.times_ms.setdefault(record.partition(), []).append(record.timestamp()[1])
        return self

    def repeated(self) -> int:
        return sum(1 for count in self.counts.values() if count > 1)


def judge(reader: Reader, settings: Settings, sent: list[Sent], expected_dead: Mapping[str, int]) -> Judgement:
    """Reads everything that came out and compares it with what was sent.

    Args:
        sent: each of them can be scored, or becomes a dead letter of an expected reason.
        expected_dead: how many dead letters of each reason there must be; -1 for at least one.
    """
    found = Judgement(sent=len(sent))
    dead = _dead_letters(reader, settings, found)
    _judge_verdicts(reader, settings, [each for each in sent if (each.partition, each.offset) not in dead], found)
    broken = {each.key for each in sent if (each.partition, each.offset) in dead}
    _judge_states(reader, settings, [each for each in sent if each.key not in broken], broken, found)
    _judge_dead_letters(found, expected_dead)
    return found


def _dead_letters(reader: Reader, settings: Settings, found: Judgement) -> set[tuple[int, int]]:
    origins = Counter[tuple[int, int]]()
    reasons = Counter[str]()
    for record in reader.read(settings.dead_letters_topic, "read_committed"):
        told = dict(record.headers())
        origins[int(told["source_partition"]), int(told["source_offset"])] += 1
        reasons[told["reason"].decode()] += 1
    found.dead_letters = dict(reasons)
    if twice := [origin for origin, count in origins.items() if count > 1]:
        found.problems.append(f"{len(twice)} dead letters came twice, such as {twice[:SHOWN]}")
    return set(origins)


def _judge_dead_letters(found: Judgement, expected: Mapping[str, int]) -> None:
    for reason in sorted(expected.keys() | found.dead_letters.keys()):
        came, wanted = found.dead_letters.get(reason, 0), expected.get(reason, 0)
        if not (came > 0 if wanted < 0 else came == wanted):
            wished = "some" if wanted < 0 else str(wanted)
            found.problems.append(f"expected {wished} dead letters with {reason}, got {came}")


def _judge_verdicts(reader: Reader, settings: Settings, sent: list[Sent], found: Judgement) -> None:
    expected = {json.loads(each.value or b"")["transaction_id"] for each in sent}
    assert len(expected) == len(sent), "a transaction_id was sent twice: this judge would be blind"
    committed = _Verdicts().take(reader.read(settings.verdicts_topic, "read_committed"))
    uncommitted = _Verdicts().take(reader.read(settings.verdicts_topic, "read_uncommitted"))
    lost = expected - committed.counts.keys()
    unasked = uncommitted.counts.keys() - expected
    # What one reader sees differs from what the other saw where an aborted verdict says something else.
    contradictory = committed.contradictory | uncommitted.contradictory
    found.verdicts = committed.counts.total()
    found.lost, found.repeated, found.repeated_uncommitted = len(lost), committed.repeated(), uncommitted.repeated()
    found.contradictory = len(contradictory)
    found.times_ms = uncommitted.times_ms
    found.longest_silence_s = _longest_silence_s(uncommitted.times_ms)
    alerts = _Verdicts().take(reader.read(settings.alerts_topic, "read_committed"))
    if alerts.counts != Counter(committed.flagged):
        wrong = alerts.counts.keys() ^ committed.flagged
        found.problems.append(
            f"{alerts.counts.total()} alerts for {len(committed.flagged)} flagged verdicts, "
            f"{len(wrong)} without the other"
        )
    if lost:
        found.problems.append(f"{len(lost)} transactions have no verdict, such as {sorted(lost)[:SHOWN]}")
    if unasked:
        found.problems.append(f"{len(unasked)} verdicts on nothing that was sent, such as {sorted(unasked)[:SHOWN]}")
    if found.repeated:
        found.problems.append(f"a read_committed reader sees {found.repeated} transactions judged more than once")
    if contradictory:
        found.problems.append(
            f"{len(contradictory)} transactions have verdicts that differ, such as {sorted(contradictory)[:SHOWN]}"
        )


def _longest_silence_s(times_ms: Mapping[int, list[int]]) -> float:
    gaps = (later - earlier for times in times_ms.values() for earlier, later in pairwise(sorted(times)))
    return max(gaps, default=0) / 1000


def _judge_states(
    reader: Reader, settings: Settings, sent: list[Sent], broken: set[bytes | None], found: Judgement
) -> None:
    last: dict[bytes, bytes] = {}
    for record in reader.read(changelog_topic(settings), "read_committed"):
        key, value = record.key(), record.value()
        if key not in broken and source_offset(value) < source_offset(last.get(key, b"")):
            found.older_profiles += 1
        last[key] = value
    states = {user: state_of_record(record) for user, record in last.items() if user not in broken}
    expected = states_by_oracle(sent, settings.allowed_lateness_s)
    wrong = differing(states, expected)
    found.users, found.wrong_states = len(expected), len(wrong)
    if wrong:
        found.problems.append(f"{len(wrong)} of {len(expected)} users have a wrong state, such as {wrong[:SHOWN]}")
    if found.older_profiles:
        found.problems.append(f"{found.older_profiles} profiles were written behind a newer one of the same user")


def differing(found: Mapping[bytes, UserState], expected: Mapping[bytes, UserState]) -> list[tuple[bytes, list[str]]]:
    """Users whose state is not the expected one, with the fields that differ."""
    return [
        (user, sorted(name for name in (state or other or {}) if (state or {}).get(name) != (other or {}).get(name)))
        for user in sorted(found.keys() | expected.keys())
        if (state := found.get(user)) != (other := expected.get(user)) and (state is not None or other is not None)
    ]
