"""How late the event loop is: what every request waits at least, in a process whose loop also judges."""

from __future__ import annotations

import asyncio
from typing import Protocol

EVERY_S = 0.1


class Observer(Protocol):
    """A histogram of seconds."""

    def observe(self, amount: float) -> None:
        """Counts a value."""
        ...


async def watch_loop(lag_seconds: Observer) -> None:
    """Sets a timer again and again and notes how late it came, for as long as the process runs."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        lag_seconds.observe(max(loop.time() - due_s, 0.0))
