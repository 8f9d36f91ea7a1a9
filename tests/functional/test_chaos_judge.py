"""The judge of the chaos suite sees what it is there to see: each kind of harm, planted on the embedded broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.features.engine import FeatureEngine
from fraudstream.settings import Settings
from fraudstream.state.event import EVENT_WORDS, pack
from fraudstream.state.profile import EMPTY
from fraudstream.topics import changelog_topic, declared_topics
from fraudstream.transaction import decode_transaction
from tests.chaos.judge import Judgement, judge
from tests.chaos.reading import Reader
from tests.chaos.source import Source, transactions
from tests.checker import Sent

ROWS = 40
RATE = 2_000.0

Record = tuple[str, bytes, bytes, int, list[tuple[str, str | bytes | None]]]
"""Topic, key, value, partition, headers."""


class Harmed:
    """What a faultless worker would have written, to be harmed before it is sent."""

    def __init__(self, settings: Settings, sent: Sequence[Sent]) -> None:
        self.settings, self.sent = settings, list(sent)
        self.verdicts: list[Record] = []
        self.alerts: list[Record] = []
        self.profiles: list[Record] = []
        for each in sent:
            name = json.loads(each.value or b"")["transaction_id"]
            value = json.dumps({"transaction_id": name, "flagged": each.offset % 2 == 0}).encode()
            self.verdicts.append((settings.verdicts_topic, each.key or b"", value, each.partition, []))
            if each.offset % 2 == 0:
                self.alerts.append((settings.alerts_topic, each.key or b"", value, each.partition, []))
        self.profiles = [
            (changelog_topic(settings), key, record, partition, [])
            for partition, key, record in _profiles(settings, sent)
        ]

    def write(self, bootstrap: str) -> None:
        producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
        for topic, key, value, partition, headers in (*self.verdicts, *self.alerts, *self.profiles):
            producer.produce(topic, value, key, partition, headers=headers)
        assert producer.flush(20) == 0


def _profiles(settings: Settings, sent: Sequence[Sent]) -> list[tuple[int, bytes, bytes]]:
    """Every state of every user, in the order in which the messages made them."""
    engine = FeatureEngine(settings.allowed_lateness_s)
    last: dict[bytes, bytes] = {}
    written: list[tuple[int, bytes, bytes]] = []
    for each in sorted(sent, key=lambda message: (message.partition, message.offset)):
        transaction, key = decode_transaction(each.value), each.key or b""
        words = pack([transaction], [transaction.time_s(each.timestamp_ms / 1000)])
        computed = engine.run(
            [last.get(key, EMPTY)], np.zeros(1, np.int64), words.reshape(1, EVENT_WORDS), np.array([each.offset])
        )
        last[key] = computed.records[0]
        written.append((each.partition, key, last[key]))
    return written


@pytest.fixture
def judged(embedded_broker: EmbeddedBroker, own_settings: Settings) -> Callable[[Callable[[Harmed], Any]], Judgement]:
    """Sends a few transactions, writes what a worker would, harmed, and asks the judge."""
    bootstrap = embedded_broker.start()
    for topic in declared_topics(own_settings):
        embedded_broker.create_topic(topic.name, topic.partitions)
    history, _ = transactions(ROWS)

    def ask(harm: Callable[[Harmed], Any]) -> Judgement:
        with Source(bootstrap, own_settings.transactions_topic, history, RATE) as source:
            source.wait()
        assert (len(source.sent), source.failed) == (ROWS, [])
        written = Harmed(own_settings, source.sent)
        harm(written)
        written.write(bootstrap)
        return judge(Reader(bootstrap), own_settings, source.sent, {})

    return ask


Ask = Callable[[Callable[[Harmed], Any]], Judgement]


def test_where_nothing_is_wrong_nothing_is_found(judged: Ask) -> None:
    found = judged(lambda _: None)
    assert (found.problems, found.sent, found.verdicts, found.wrong_states) == ([], ROWS, ROWS, 0)
    assert found.users > 1


def test_every_harm_to_verdicts_is_found(judged: Ask) -> None:
    def harm(written: Harmed) -> None:
        plain = [each for each in written.verdicts if b"false" in each[2]]
        topic, key, _, partition, headers = plain[0]
        written.verdicts.remove(plain[0])
        written.verdicts.append(plain[1])
        written.verdicts.append((*plain[2][:4], [("features", b"other")]))  # no other byte differs
        unasked = b'{"transaction_id": "nobody sent this", "flagged": false}'
        written.verdicts.append((topic, key, unasked, partition, headers))

    found = judged(harm)
    assert (found.lost, found.repeated, found.repeated_uncommitted, found.contradictory) == (1, 2, 2, 1)
    assert [problem.partition(", such as")[0] for problem in found.problems] == [
        "1 transactions have no verdict",
        "1 verdicts on nothing that was sent",
        "a read_committed reader sees 2 transactions judged more than once",
        "1 transactions have verdicts that differ",
    ]


def test_lost_and_repeated_alerts_are_found(judged: Ask) -> None:
    def harm(written: Harmed) -> None:
        written.alerts.append(written.alerts[2])
        del written.alerts[0]

    (problem,) = judged(harm).problems
    assert problem.endswith("flagged verdicts, 1 without the other")


def test_every_harm_to_profiles_is_found(judged: Ask) -> None:
    def harm(written: Harmed) -> None:
        keys = [profile[1] for profile in written.profiles]
        older = next(at for at, key in enumerate(keys) if keys.count(key) > 1)
        again = written.profiles[older]
        last = next(at for at in reversed(range(len(keys))) if keys[at] != again[1])
        del written.profiles[last]  # one event of one user is missing
        written.profiles.append(again)  # and another user's profile goes back in time

    found = judged(harm)
    assert (found.older_profiles, found.wrong_states) == (1, 2)
    assert len(found.problems) == 2


def test_a_dead_letter_that_nobody_expects_is_found(judged: Ask) -> None:
    def harm(written: Harmed) -> None:
        each = written.sent[0]
        headers: list[tuple[str, str | bytes | None]] = [
            ("source_partition", str(each.partition).encode()),
            ("source_offset", str(each.offset).encode()),
            ("reason", b"malformed_json"),
        ]
        letter = (written.settings.dead_letters_topic, each.key or b"", each.value or b"", each.partition, headers)
        written.verdicts.append(letter)

    assert "expected 0 dead letters with malformed_json, got 1" in judged(harm).problems
