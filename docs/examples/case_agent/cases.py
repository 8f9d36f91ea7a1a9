"""Opens a case for every alert, in SQLite: `faust -A cases worker -l info`, with CASES_DB naming the file.

An alert may come again after a crash; `transaction_id` is the key, so the case is opened once.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import faust

from fraudstream import Verdict, create_app

CASES_DB = Path(os.environ.get("CASES_DB", "cases.sqlite"))


class Cases:
    """Cases in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS cases ("
            "transaction_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, score REAL NOT NULL, reason TEXT NOT NULL, "
            "explanation TEXT NOT NULL, opened_at TEXT NOT NULL)"
        )

    def open(self, alert: Verdict) -> bool:
        """Opens the alert's case; False where it is open already."""
        row = (
            alert.transaction_id,
            alert.user_id,
            alert.anomaly_score,
            alert.anomaly_type,
            alert.explanation,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._connection:
            return self._connection.execute("INSERT OR IGNORE INTO cases VALUES (?, ?, ?, ?, ?, ?)", row).rowcount == 1


app = create_app()
cases = Cases(CASES_DB)


@app.agent(app.alerts)
async def open_cases(alerts: faust.StreamT[Verdict]) -> None:
    """Opens a case for each alert; its offset is committed only after the case is in the file."""
    async for alert in alerts:
        cases.open(alert)
