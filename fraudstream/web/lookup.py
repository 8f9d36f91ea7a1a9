"""Finds transactions and users for the console: in the recent verdicts, the profiles and the evidence store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from fraudstream.errors import FraudstreamError
from fraudstream.evidence import Evidence, EvidenceStore
from fraudstream.state.profile import ProfileView, view
from fraudstream.web.history import History, history_of
from fraudstream.web.profile_source import ProfileSource
from fraudstream.web.recent import Recent, Row, row_of, row_of_emitted

log = logging.getLogger(__name__)

MOST_FOUND = 20
MOST_ROWS = 50
MOST_STORED = 1_000
STORE_WITHIN_S = 3.0


class Found(msgspec.Struct, frozen=True):
    """What a search found.

    Attributes:
        transactions: newest first.
        users: ids; the one that was asked for exactly leads where it is known.
        recent_verdicts: how many verdicts were looked through in memory.
        notes: in words, what could not be asked.
    """

    transactions: list[Row]
    users: list[str]
    recent_verdicts: int
    has_store: bool
    notes: list[str]


class ChainLink(msgspec.Struct, frozen=True):
    """Where a verdict stands in the evidence chain."""

    partition: int
    offset: int
    row_hash: str


class TransactionPage(msgspec.Struct, frozen=True):
    """Everything about one transaction; verdict and transaction as they were sent."""

    row: Row
    verdict: msgspec.Raw
    transaction: msgspec.Raw
    chain: ChainLink | None
    history: History
    notes: list[str]


class UserPage(msgspec.Struct, frozen=True):
    """Everything about one user; rows newest first."""

    user_id: str
    rows: list[Row]
    history: History
    notes: list[str]


class Lookup:
    """Answers questions about transactions and users.

    Args:
        recent: the verdicts that were just made.
        profiles: the users' states.
        store: where evidence is kept, if anywhere.

    Attributes:
        store: may be set when it is opened later, and to None when it is closed.
    """

    def __init__(self, recent: Recent, profiles: ProfileSource, store: EvidenceStore | None = None) -> None:
        self._recent = recent
        self._profiles = profiles
        self.store = store

    async def search(self, text: str) -> Found:
        """Transactions and users whose id begins with a text; beyond the recent ones only whole ids are found."""
        notes: list[str] = []
        rows = [row_of_emitted(each) for each in self._recent.starting_with(text, MOST_FOUND)]
        users = self._recent.users_starting_with(text, MOST_FOUND)
        if text not in users and (await self._profile(text, notes))[0] is not None:
            users.insert(0, text)
        if not any(row.transaction_id == text for row in rows):
            stored = await self._stored(text, notes)
            rows += [row_of(stored.verdict, stored.transaction)] if stored else []
        return Found(rows, users, len(self._recent), self.store is not None, notes)

    async def transaction(self, transaction_id: str) -> TransactionPage | None:
        """The page of a transaction, None where nobody knows it."""
        notes: list[str] = []
        chain: ChainLink | None = None
        found, stored = self._recent.find(transaction_id), await self._stored(transaction_id, notes)
        if found is not None:
            verdict, transaction = found.value, found.transaction
        elif stored is not None:
            verdict, transaction = stored.verdict, stored.transaction
        else:
            return None
        if stored is not None and stored.chain is not None:
            chain = ChainLink(stored.chain.partition, stored.chain.offset, stored.chain.row_hash.hex())
        row = row_of(verdict, transaction)
        profile, age_s = await self._profile(row.user_id, notes)
        history = history_of(row.user_id, profile, await self._rows_of(row.user_id, notes), row, age_s)
        return TransactionPage(row, msgspec.Raw(verdict), msgspec.Raw(transaction), chain, history, notes)

    async def user(self, user_id: str) -> UserPage | None:
        """The page of a user, None where nobody knows one."""
        notes: list[str] = []
        profile, age_s = await self._profile(user_id, notes)
        rows = await self._rows_of(user_id, notes)
        if profile is None and not rows:
            return None
        return UserPage(user_id, rows[:MOST_ROWS], history_of(user_id, profile, rows, None, age_s), notes)

    async def _rows_of(self, user_id: str, notes: list[str]) -> list[Row]:
        """Verdicts on a user, newest event first, each transaction once."""
        rows = {row.transaction_id: row for row in await self._stored_rows(user_id, notes)}
        recent = [row_of_emitted(each) for each in self._recent.of_user(user_id, MOST_STORED)]
        rows.update((row.transaction_id, row) for row in reversed(recent))
        return sorted(rows.values(), key=lambda row: row.event_time, reverse=True)

    async def _profile(self, user_id: str, notes: list[str]) -> tuple[ProfileView | None, float]:
        try:
            (found,) = await self._profiles.find([user_id.encode()])
            if found is None:
                notes.append("The user's profile cannot be reached: neither its owner nor the cache answers")
                return None, 0.0
            return view(found.record), found.age_s
        except (FraudstreamError, ConnectionError) as error:
            notes.append(f"The user's profile is not here: {error}")
            return None, 0.0

    async def _stored(self, transaction_id: str, notes: list[str]) -> Evidence | None:
        if self.store is None:
            return None
        async with _store_asked(notes):
            return await self.store.find(transaction_id)
        return None

    async def _stored_rows(self, user_id: str, notes: list[str]) -> list[Row]:
        if self.store is None:
            return []
        async with _store_asked(notes):
            found = await self.store.search(user_id=user_id, limit=MOST_STORED)
            return [row_of(each.verdict, each.transaction) for each in found]
        return []


@asynccontextmanager
async def _store_asked(notes: list[str]) -> AsyncIterator[None]:
    """Asks the store within a limit; a store that is away leaves a note and costs no page."""
    try:
        async with asyncio.timeout(STORE_WITHIN_S):
            yield
    except (FraudstreamError, OSError) as error:  # a timeout is an OSError too
        log.warning("the console could not ask the evidence store: %s", error)
        note = "The evidence store did not answer; what is shown comes from this worker's memory alone."
        if note not in notes:
            notes.append(note)
