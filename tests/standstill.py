"""A worker whose consumption comes to a real standstill as soon as a file appears; run as its Faust app.

STANDSTILL names the file. With `wait` in it the verdicts are never sent while all else goes on; with `block` a model
never comes back and holds the event loop; with `restore` (before the start) profiles come slowly from the changelog.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from fraudstream.agents import faust_app

FILE = Path(os.environ["STANDSTILL"])
SHORT_REQUEST_S = 12.0
SLOW_WRITE_S = 0.7


def _kind() -> str:
    return FILE.read_text() if FILE.exists() else ""


if _kind() == "restore":
    faust_app.REQUEST_TIMEOUT_S = SHORT_REQUEST_S

from fraudstream.agents.app import app  # noqa: E402  what stands above must hold when it is made

_send, _restore = app.scoring._send, app.tables.restore._restore


async def send(outcome: Any) -> None:
    """As ever, until the file is there."""
    if _kind() == "wait":
        await asyncio.Event().wait()
    if _kind() == "block":
        time.sleep(3600)  # noqa: ASYNC251  that is the point
    await _send(outcome)


async def restore(consumer: Any, assigned: list[Any]) -> None:
    """As ever, but with a few records a fetch."""
    getmany = consumer.getmany

    async def few(*partitions: Any, timeout_ms: int, max_records: int | None) -> Any:
        await asyncio.sleep(SLOW_WRITE_S)
        return await getmany(*partitions, timeout_ms=timeout_ms, max_records=min(max_records or 50, 50))

    if _kind() == "restore":
        consumer.getmany = few
    await _restore(consumer, assigned)


app.scoring._send = send  # type: ignore[method-assign]
app.tables.restore._restore = restore
