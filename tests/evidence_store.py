"""Evidence in a real SQLite file, behind as small an EvidenceStore as can be, and messages to fill it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fraudstream.evidence import ChainPosition, Evidence, read_headers
from fraudstream.pipeline import Detector, process
from fraudstream.state.profile import EMPTY
from fraudstream.verdict import decode_verdict

START_S = 1_764_000_000
FIRST_HASH = bytes(32)
_COLUMNS = "transaction_id TEXT PRIMARY KEY, user_id, partition, at, event_time_s, verdict, transaction_json, features"


@dataclass(frozen=True)
class Message:
    """A transaction on its topic."""

    offset: int
    key: bytes
    value: bytes
    partition: int = 0
    topic: str = "transactions"
    timestamp: int = (START_S + 400 * 86_400) * 1000


def message(offset: int, user: str = "anna", **fields: Any) -> Message:
    """One of a user who pays about 25 every six hours at three shops, with one device and place."""
    body = {
        "transaction_id": f"t{offset}",
        "user_id": user,
        "amount": 20.0 + offset % 11,
        "merchant": f"shop {offset % 3}",
        "category": "food",
        "location": "Graz",
        "device_id": "phone",
        "timestamp": START_S + offset * 21_600,
    } | fields
    return Message(offset, user.encode(), json.dumps(body).encode())


class SqliteEvidence:
    """An EvidenceStore in one file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"CREATE TABLE IF NOT EXISTS evidence ({_COLUMNS})")

    def add(self, detector: Detector, messages: Iterable[Message]) -> None:
        """Judges the messages one after the other and keeps the evidence."""
        profiles: dict[tuple[int, bytes], bytes] = {}
        with closing(sqlite3.connect(self.path)) as db, db:
            for one in messages:
                outcome = process(detector, [one], lambda *user: profiles.get(user, EMPTY))
                profiles.update(outcome.profiles)
                (emitted,) = outcome.verdicts
                verdict = decode_verdict(emitted.value)
                transaction, features = read_headers(dict(emitted.headers))
                db.execute(
                    "INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (verdict.transaction_id, verdict.user_id, one.partition, one.offset,
                     int(verdict.event_time.timestamp()), emitted.value, transaction, features),
                )  # fmt: skip

    def remove(self, transaction_id: str) -> None:
        """Takes a row away."""
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("DELETE FROM evidence WHERE transaction_id = ?", (transaction_id,))

    async def find(self, transaction_id: str) -> Evidence | None:
        """See EvidenceStore."""
        return next(iter(self._select("WHERE transaction_id = ?", transaction_id)), None)

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        """See EvidenceStore."""
        where = "WHERE ? IN (transaction_id, '') AND ? IN (user_id, '') ORDER BY event_time_s DESC LIMIT ?"
        return self._select(where, transaction_id or "", user_id or "", limit)

    async def of_user(self, user_id: str, until: datetime | None = None) -> AsyncIterator[Evidence]:
        """See EvidenceStore."""
        end_s = until.timestamp() if until else 2**40
        for one in self._select("WHERE user_id = ? AND event_time_s <= ? ORDER BY partition, at", user_id, end_s):
            yield one

    def _select(self, where: str, *values: object) -> list[Evidence]:
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute(f"SELECT * FROM evidence {where}", values).fetchall()
        return [
            Evidence(name, user, partition, at, verdict, transaction, features,
                     ChainPosition(partition, at, FIRST_HASH, b"\xab" * 32))
            for name, user, partition, at, _, verdict, transaction, features in rows
        ]  # fmt: skip
