"""Batches are decoded and packed all at once; that must never be seen in what comes out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import RefusedInput
from fraudstream.intake import EVIDENCE_BYTES, decode, with_profiles
from fraudstream.state.event import EVENT_WORDS, pack
from fraudstream.state.profile import EMPTY
from fraudstream.transaction import Transaction, decode_transaction, encode_transaction
from fraudstream.wire.texts import KEY, SOURCE, TRANSACTION_ID, USER_ID
from tests.odd_transactions import BASE, NOW_S, transactions
from tests.plain_pack import pack_one


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int
    partition: int = 0
    topic: str = "transactions"
    timestamp: int = NOW_S * 1000


def plain(record: Record) -> tuple[Transaction, int] | str:
    """What a record is, or the reason that it is refused for."""
    try:
        transaction = decode_transaction(record.value)
        if record.key != transaction.user_id.encode():
            return "key_mismatch"
        return transaction, transaction.time_s(record.timestamp / 1000)
    except RefusedInput as refused:
        return refused.reason


def bytes_of(fields: Any, spaced: bool) -> bytes:
    return json.dumps(fields, separators=(" , ", " : ") if spaced else (",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


good = st.builds(
    lambda user, amount: {**BASE, "user_id": user, "amount": amount}, st.sampled_from("uvw"), st.floats(0, 9e6)
)
values = st.one_of(
    st.builds(bytes_of, st.one_of(good, good, good, transactions()), st.sampled_from([False] * 9 + [True])),
    st.sampled_from([None, b"", b"{}", b'{"transaction_id":"a\\n"}']),
)
few = st.lists(st.tuples(values, st.sampled_from([True] * 19 + [False])), max_size=4)
many_good = st.lists(st.tuples(good.map(lambda fields: bytes_of(fields, False)), st.just(True)), max_size=4)


def keyed(messages: list[tuple[bytes | None, bool]]) -> list[Record]:
    records = []
    for at, (value, has_key) in enumerate(messages):
        try:
            key = decode_transaction(value).user_id.encode() if has_key else b"other"
        except RefusedInput:
            key = b"u"
        records.append(Record(key, value, at, partition=at % 2))
    return records


@given(few | many_good)
@settings(max_examples=500, deadline=None)
def test_a_batch_is_the_sum_of_its_records(messages: list[tuple[bytes | None, bool]]) -> None:
    records = keyed(messages)
    asked: list[tuple[int, bytes]] = []

    def load(*user: Any) -> bytes:
        asked.append(user)
        return EMPTY

    decoded, letters = decode(records)
    batch, profiles, unreadable = with_profiles(decoded, load)
    assert unreadable == []
    found = [plain(record) for record in records]
    accepted = [(record, *one) for record, one in zip(records, found, strict=True) if not isinstance(one, str)]
    event("all at once" if len(accepted) == len(records) else "with dead letters")
    assert batch.texts.strings(TRANSACTION_ID) == [transaction.transaction_id for _, transaction, _ in accepted]
    assert batch.texts.strings(USER_ID) == [transaction.user_id for _, transaction, _ in accepted]
    assert batch.texts.of(KEY) == [record.key for record, *_ in accepted]
    assert batch.texts.of(SOURCE) == [record.value for record, *_ in accepted]
    assert batch.amounts.tolist() == [transaction.amount for _, transaction, _ in accepted]
    assert batch.event_s.tolist() == [time_s for *_, time_s in accepted]
    assert batch.received_ms.tolist() == [record.timestamp for record, *_ in accepted]
    assert batch.partitions.tolist() == [record.partition for record, *_ in accepted]
    users = [(record.partition, record.key) for record, *_ in accepted]
    assert [batch.users[slot] for slot in batch.slots] == users
    assert batch.users == asked == list(dict.fromkeys(users))
    assert profiles == [EMPTY] * len(asked)
    assert batch.offsets.tolist() == [record.offset for record, *_ in accepted]
    expected = [pack_one(transaction, time_s) for _, transaction, time_s in accepted]
    np.testing.assert_array_equal(batch.words, np.array(expected, np.uint32).reshape(-1, EVENT_WORDS))
    assert [_where(letter) for letter in letters] == [
        (record.partition, record.offset, one)
        for record, one in zip(records, found, strict=True)
        if isinstance(one, str)
    ]


def _where(letter: DeadLetter) -> tuple[int, int, str]:
    return letter.partition, letter.offset, letter.reason


coordinates = st.none() | st.floats(-180, 180) | st.sampled_from([0.005, -0.005, 0.015, 180.0, -180.0])
packable = st.builds(
    Transaction,
    st.text(min_size=1, max_size=4),
    st.just("u"),
    st.floats(0, 42_949_672.95) | st.integers(0, 10**6).map(lambda half: half / 200),
    st.text(min_size=1, max_size=4),
    *[st.none() | st.text(min_size=1, max_size=2)] * 3,
    st.none(),
    coordinates,
    coordinates,
)


@given(st.lists(st.tuples(packable, st.integers(0, 2**32 - 1)), max_size=5))
@settings(max_examples=500, deadline=None)
def test_columns_are_packed_as_single_transactions_are(rows: list[tuple[Transaction, int]]) -> None:
    words = pack([transaction for transaction, _ in rows], [time_s for _, time_s in rows])
    assert words.tolist() == [list(pack_one(*row)) for row in rows]


VALUE = bytes_of({**BASE, "timestamp": "2025-11-22T10:30:00Z", "latitude": 1.5, "longitude": -2.5}, False)


def test_the_usual_batch_is_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("fraudstream.intake.decode_transaction")
    decoded, letters = decode([Record(b"u", VALUE, at) for at in range(3)])
    assert (len(decoded.users), letters) == (3, [])


def test_only_what_is_not_plain_is_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes | None] = []

    def decode_and_note(value: bytes | None) -> Transaction:
        asked.append(value)
        return decode_transaction(value)

    monkeypatch.setattr("fraudstream.intake.decode_transaction", decode_and_note)
    escaped = VALUE.replace(b'"m"', b'"\\u006d"')
    decoded, letters = decode([Record(b"u", value, at) for at, value in enumerate([VALUE, escaped, b"{", VALUE])])
    assert asked == [escaped, b"{"]
    assert [letter.offset for letter in letters] == [2]
    assert decoded.words.tolist() == decode([Record(b"u", VALUE, at) for at in range(3)])[0].words.tolist()


def test_of_a_large_message_evidence_keeps_what_was_read() -> None:
    large = VALUE[:-1] + b',"note":"' + b"x" * EVIDENCE_BYTES + b'"}'
    batch, *_ = with_profiles(decode([Record(b"u", large, 0), Record(b"u", VALUE, 1)])[0], lambda *_: EMPTY)
    assert batch.texts.of(SOURCE) == [encode_transaction(decode_transaction(large)), VALUE]
    assert batch.texts.of(TRANSACTION_ID) == [b"t", b"t"]


def test_who_has_a_damaged_profile_takes_nobody_along() -> None:
    records = [
        Record(user, VALUE.replace(b'"u"', b'"%b"' % user), at) for at, user in enumerate([b"u", b"v", b"u", b"w"])
    ]
    batch, profiles, letters = with_profiles(
        decode(records)[0], lambda _partition, key: b"damaged" if key == b"u" else EMPTY
    )
    assert (batch.users, profiles) == ([(0, b"v"), (0, b"w")], [EMPTY, EMPTY])
    assert (batch.texts.of(KEY), batch.slots.tolist(), batch.offsets.tolist()) == ([b"v", b"w"], [0, 1], [1, 3])
    assert [_where(letter) for letter in letters] == [(0, 0, "profile_unreadable"), (0, 2, "profile_unreadable")]
