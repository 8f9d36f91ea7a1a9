"""The records of a micro-batch, decoded and column by column; what cannot be scored becomes a dead letter here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import ProfileError, RefusedInput
from fraudstream.state.event import pack
from fraudstream.state.profile import upgrade
from fraudstream.transaction import Transaction, decode_transaction, encode_transaction
from fraudstream.wire.records import Records, SourceRecord, records_of
from fraudstream.wire.texts import KEY, SOURCE, TEXT_COLUMNS, Texts, json_texts, texts_of
from fraudstream.wire.transaction_kernel import read_rows

EVIDENCE_BYTES = 16_384
"""A transaction is at most some 3 kB; what is larger has fields that nobody reads."""

User = tuple[int, bytes]
"""Source partition and key."""

LoadProfile = Callable[[int, bytes], bytes]
"""Gives the record of a user in a source partition, `EMPTY` for an unknown one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Accepted transactions; each column has one entry a transaction.

    Attributes:
        texts: ids, keys and bytes of the transactions.
        users: the distinct ones, in the order of their first transaction.
        slots: (n,) whose each is, as a place in `users`.
        words: (n, EVENT_WORDS) the transactions packed.
        amounts: (n,) in main units.
        event_s: (n,) event times, seconds since 1970.
        received_ms: (n,) the broker's times.
        partitions: (n,) of the records.
        offsets: (n,) of the records.
    """

    texts: Texts
    users: list[User]
    slots: NDArray[np.int64]
    words: NDArray[np.uint32]
    amounts: NDArray[np.float64]
    event_s: NDArray[np.int64]
    received_ms: NDArray[np.int64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    @staticmethod
    def of(
        sources: list[SourceRecord], transactions: list[Transaction], times_s: list[int], users: Sequence[User]
    ) -> Batch:
        """The columns of transactions and whose they are."""
        return Batch(
            _texts(sources, transactions),
            *_distinct(users),
            pack(transactions, times_s),
            np.array([transaction.amount for transaction in transactions], np.float64),
            np.array(times_s, np.int64),
            _column([source.timestamp for source in sources]),
            _column([source.partition for source in sources]),
            _column([source.offset for source in sources]),
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records that can be read, column by column; not yet known is whether their users' profiles can be.

    Attributes: see `Batch`; `users` has one entry a record here.
    """

    records: Records
    users: Sequence[User]
    texts: Texts
    words: NDArray[np.uint32]
    amounts: NDArray[np.float64]
    event_s: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> Decoded:
        """The records that are kept."""
        rows = np.flatnonzero(kept)
        return Decoded(
            self.records.some(rows),
            [self.users[row] for row in rows.tolist()],
            Texts(self.texts.blob, self.texts.spans[kept]),
            self.words[kept],
            self.amounts[kept],
            self.event_s[kept],
        )


def decode(records: Sequence[SourceRecord]) -> tuple[Decoded, list[DeadLetter]]:
    """Decodes messages, in offset order within a partition; the others get a dead letter each."""
    decoded, is_plain = _read_plain(records_of(records))
    return (decoded, []) if is_plain.all() else _look_closer(decoded, is_plain)


def with_profiles(decoded: Decoded, load: LoadProfile) -> tuple[Batch, list[bytes], list[DeadLetter]]:
    """The batch, the profiles of its users, and a dead letter for each record whose user's profile cannot be read.

    Args:
        load: gives a user's current profile; asked once for each.
    """
    users, slots = _distinct(decoded.users)
    profiles: list[bytes] = []
    unreadable: dict[User, RefusedInput] = {}
    for user in users:
        try:
            profiles.append(current(load(*user)))
        except ProfileError as error:
            unreadable[user] = RefusedInput("profile_unreadable", f"profile: {error}")
    if unreadable:
        return _without(decoded, unreadable, profiles)
    batch = Batch(
        decoded.texts,
        users,
        slots,
        decoded.words,
        decoded.amounts,
        decoded.event_s,
        decoded.records.times_ms,
        decoded.records.partitions,
        decoded.records.offsets,
    )
    return batch, profiles, []


def _distinct(users: Sequence[User]) -> tuple[list[User], NDArray[np.int64]]:
    """Each user once, in the order of the first transactions, and whose each transaction is, as a place among them."""
    first: dict[User, int] = {}
    first_of = np.fromiter(map(first.setdefault, users, count()), np.int64, len(users))
    is_first = first_of == np.arange(len(users))
    return list(first), (np.cumsum(is_first) - 1)[first_of]


def current(record: bytes) -> bytes:
    """A profile as this version writes it.

    Raises:
        ProfileError: it cannot be read.
    """
    return upgrade(record) if record else record


def _read_plain(records: Records) -> tuple[Decoded, NDArray[np.bool_]]:
    """The usual case, by kernels: what was read of each record, and of which there is something."""
    spans = np.zeros((len(records), TEXT_COLUMNS, 2), np.int64)
    # What is not there is an empty text; no message ends where the buffer begins.
    np.maximum(records.values, 0, out=spans[:, SOURCE])
    np.maximum(records.keys, 0, out=spans[:, KEY])
    rows = read_rows(records.blob, spans, records.times_ms, EVIDENCE_BYTES)
    texts = Texts(records.blob, spans)
    users = list(zip(records.partitions.tolist(), texts.of(KEY), strict=True))
    return Decoded(records, users, texts, rows.words, rows.amounts, rows.event_s), rows.is_plain


def _look_closer(decoded: Decoded, is_plain: NDArray[np.bool_]) -> tuple[Decoded, list[DeadLetter]]:
    """Reads the other records one by one."""
    dead_letters: list[DeadLetter] = []
    found: dict[int, tuple[Transaction, int]] = {}
    for row in np.flatnonzero(~is_plain).tolist():
        record = decoded.records[row]
        try:
            found[row] = _read_one(record)
        except RefusedInput as refused:
            dead_letters.append(_dead_letter(record, refused))
    if found:
        rows, (transactions, times_s) = list(found), zip(*found.values(), strict=True)
        decoded.words[rows] = pack(transactions, times_s)
        decoded.amounts[rows] = [transaction.amount for transaction in transactions]
        decoded.event_s[rows] = times_s
        texts = _texts([decoded.records[row] for row in rows], transactions)
        decoded = replace(decoded, texts=decoded.texts.replaced(rows, texts))
        is_plain[rows] = True
    return (decoded.only(is_plain) if dead_letters else decoded), dead_letters


def _read_one(record: SourceRecord) -> tuple[Transaction, int]:
    transaction = decode_transaction(record.value)
    key = transaction.user_id.encode()
    if record.key != key:
        came = "a message without a key" if record.key is None else repr(record.key[:60].decode("utf-8", "replace"))
        raise RefusedInput(
            "key_mismatch",
            f"key: expected the user_id {transaction.user_id!r}, so that one partition holds all of a user, got {came}",
        )
    return transaction, transaction.time_s(record.timestamp / 1000)


def _texts(sources: Sequence[SourceRecord], transactions: Sequence[Transaction]) -> Texts:
    return texts_of(
        json_texts([transaction.transaction_id for transaction in transactions]),
        json_texts([transaction.user_id for transaction in transactions]),
        [source.key or b"" for source in sources],
        [_evidence(source, transaction) for source, transaction in zip(sources, transactions, strict=True)],
    )


def _without(
    decoded: Decoded, unreadable: Mapping[User, RefusedInput], profiles: list[bytes]
) -> tuple[Batch, list[bytes], list[DeadLetter]]:
    """What `with_profiles` gives when some cannot be read; `profiles` are those of the other users."""
    dead_letters = [
        _dead_letter(record, unreadable[user])
        for record, user in zip(decoded.records, decoded.users, strict=True)
        if user in unreadable
    ]
    kept = decoded.only(np.array([user not in unreadable for user in decoded.users], np.bool_))
    readable = iter(profiles)
    batch, profiles, _ = with_profiles(kept, lambda _partition, _key: next(readable))
    return batch, profiles, dead_letters


def _evidence(source: SourceRecord, transaction: Transaction) -> bytes:
    """The message as it came; only what was read of it where the rest would be too large beside the verdict."""
    came = source.value or b""
    return came if len(came) <= EVIDENCE_BYTES else encode_transaction(transaction)


def _column(numbers: list[int]) -> NDArray[np.int64]:
    return np.fromiter(numbers, np.int64, len(numbers))


def _dead_letter(record: SourceRecord, refused: RefusedInput) -> DeadLetter:
    return DeadLetter.of(record.topic, record.partition, record.offset, record.key, record.value, refused)
