"""The records of a micro-batch, decoded and column by column; what cannot be scored becomes a dead letter here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import ProfileError, RefusedInput
from fraudstream.state.event import pack
from fraudstream.state.profile import upgrade
from fraudstream.transaction import Transaction, decode_transaction, decode_transactions

User = tuple[int, bytes]
"""Source partition and key."""

LoadProfile = Callable[[int, bytes], bytes]
"""Gives the record of a user in a source partition, `EMPTY` for an unknown one."""


class SourceRecord(Protocol):
    """A message as Kafka clients hand it over; `timestamp` is the broker's time in ms."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Accepted transactions; each column has one entry a transaction.

    Attributes:
        users: the distinct ones, in the order of their first transaction.
        slots: (n,) whose each is, as a place in `users`.
        words: (n, EVENT_WORDS) the transactions packed.
        offsets: (n,) of the records.
    """

    sources: list[SourceRecord]
    transactions: list[Transaction]
    times_s: list[int]
    users: list[User]
    slots: NDArray[np.int64]
    words: NDArray[np.uint32]
    offsets: NDArray[np.int64]

    @staticmethod
    def of(
        sources: list[SourceRecord], transactions: list[Transaction], times_s: list[int], users: Sequence[User]
    ) -> Batch:
        """The columns of transactions and whose they are."""
        slots = {user: at for at, user in enumerate(dict.fromkeys(users))}
        return Batch(
            sources,
            transactions,
            times_s,
            list(slots),
            np.array([slots[user] for user in users], np.int64),
            pack(transactions, times_s),
            np.array([source.offset for source in sources], np.int64),
        )


@dataclass(slots=True)
class Decoded:
    """Records that can be read, column by column; not yet known is whether their users' profiles can be."""

    records: list[SourceRecord]
    transactions: list[Transaction]
    times_s: list[int]
    users: list[User]

    def add(self, record: SourceRecord, transaction: Transaction, time_s: int, user: User) -> None:
        """One more."""
        self.records.append(record)
        self.transactions.append(transaction)
        self.times_s.append(time_s)
        self.users.append(user)


def decode(records: Sequence[SourceRecord]) -> tuple[Decoded, list[DeadLetter]]:
    """Decodes messages, in offset order within a partition; the others get a dead letter each."""
    dead_letters: list[DeadLetter] = []
    return _all_at_once(records) or _one_by_one(records, dead_letters), dead_letters


def with_profiles(decoded: Decoded, load: LoadProfile) -> tuple[Batch, list[bytes], list[DeadLetter]]:
    """The batch, the profiles of its users, and a dead letter for each record whose user's profile cannot be read.

    Args:
        load: gives a user's current profile; asked once for each.
    """
    profiles: dict[User, bytes] = {}
    unreadable: dict[User, str] = {}
    for user in dict.fromkeys(decoded.users):
        try:
            profiles[user] = current(load(*user))
        except ProfileError as error:
            unreadable[user] = f"profile: {error}"
    dead_letters: list[DeadLetter] = []
    if unreadable:
        decoded = _without(decoded, unreadable, dead_letters)
    batch = Batch.of(decoded.records, decoded.transactions, decoded.times_s, decoded.users)
    return batch, list(profiles.values()), dead_letters


def current(record: bytes) -> bytes:
    """A profile as this version writes it.

    Raises:
        ProfileError: it cannot be read.
    """
    return upgrade(record) if record else record


def _all_at_once(records: Sequence[SourceRecord]) -> Decoded | None:
    """The usual case, in less than half the time of one by one; None where it is not the case."""
    transactions = decode_transactions([record.value for record in records])
    if transactions is None:
        return None
    keys = [transaction.user_id.encode() for transaction in transactions]
    if keys != [record.key for record in records]:
        return None
    try:
        times_s = [
            transaction.time_s(record.timestamp / 1000)
            for transaction, record in zip(transactions, records, strict=True)
        ]
    except RefusedInput:
        return None
    users = [(record.partition, key) for record, key in zip(records, keys, strict=True)]
    return Decoded(list(records), transactions, times_s, users)


def _one_by_one(records: Sequence[SourceRecord], dead_letters: list[DeadLetter]) -> Decoded:
    decoded = Decoded([], [], [], [])
    for record in records:
        try:
            transaction = decode_transaction(record.value)
            user = (record.partition, _key_of(record, transaction))
            time_s = transaction.time_s(record.timestamp / 1000)
        except RefusedInput as refused:
            dead_letters.append(_dead_letter(record, refused))
            continue
        decoded.add(record, transaction, time_s, user)
    return decoded


def _without(decoded: Decoded, unreadable: dict[User, str], dead_letters: list[DeadLetter]) -> Decoded:
    """What is left when users whose profile cannot be read are taken out."""
    kept = Decoded([], [], [], [])
    for at, user in enumerate(decoded.users):
        if user in unreadable:
            refused = RefusedInput("profile_unreadable", unreadable[user])
            dead_letters.append(_dead_letter(decoded.records[at], refused))
        else:
            kept.add(decoded.records[at], decoded.transactions[at], decoded.times_s[at], user)
    return kept


def _key_of(record: SourceRecord, transaction: Transaction) -> bytes:
    key = transaction.user_id.encode()
    if record.key != key:
        came = "a message without a key" if record.key is None else repr(record.key[:60].decode("utf-8", "replace"))
        raise RefusedInput(
            "key_mismatch",
            f"key: expected the user_id {transaction.user_id!r}, so that one partition holds all of a user, got {came}",
        )
    return key


def _dead_letter(record: SourceRecord, refused: RefusedInput) -> DeadLetter:
    return DeadLetter.of(record.topic, record.partition, record.offset, record.key, record.value, refused)
