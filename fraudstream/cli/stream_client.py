"""Streams transactions in step with their verdicts and keeps the books: sent, answered, lost, repeated.

Shared by `demo` and `load`; the broker's client is handed in, so that importing this costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fraudstream.settings import Settings
from fraudstream.verdict import Reason

if TYPE_CHECKING:
    from fraudstream.adapters.transaction_stream import TransactionStream

SEND_ROWS = 500
"""At most so many transactions are sent at a time, so that the broker gets batches and the reader its turns."""
TICK_S = 0.005
"""With a rate, what has become due is sent this often; a few at once more often, see `MANY`."""
MANY = 16
"""Due within a tick: from here on requests, not transactions, would take most of the sender's and the broker's time."""
RECEIVE_WAIT_S = 0.05
ALERTS_WAIT_S = 5.0
"""Alerts leave the worker right behind their verdicts; after this long a missing one is missing."""


class SeenVerdict(msgspec.Struct, frozen=True, gc=False):
    """The part of a verdict that a spectator needs."""

    transaction_id: str
    user_id: str
    anomaly_score: float
    anomaly_type: str
    explanation: str
    flagged: bool
    reasons: tuple[Reason, ...] = ()


class _Identified(msgspec.Struct, frozen=True, gc=False):
    transaction_id: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A transaction ready to be sent."""

    transaction_id: str
    key: bytes
    value: bytes


def outgoing(messages: Sequence[tuple[bytes, bytes]]) -> list[Outgoing]:
    """Messages with their ids read out, to know their verdicts again."""
    decode = msgspec.json.Decoder(_Identified).decode
    return [Outgoing(decode(value).transaction_id, key, value) for key, value in messages]


@dataclass(slots=True)
class Tally:
    """What one run has seen so far; times are seconds of time.perf_counter.

    Attributes:
        waiting: transaction_id -> moments from which its verdicts are measured, oldest first.
        answered: how many verdicts each transaction_id got.
        foreign: verdicts about transactions of others.
    """

    waiting: dict[str, list[float]] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    flagged: set[str] = field(default_factory=set)
    sent: int = 0
    alerts: int = 0
    dead_letters: int = 0
    repeated: int = 0
    foreign: int = 0
    first_sent_s: float = 0.0
    last_verdict_s: float = 0.0

    @property
    def verdicts(self) -> int:
        """Transactions that got their verdict."""
        return len(self.latencies_s)

    @property
    def in_flight(self) -> int:
        """Transactions sent that have neither verdict nor dead letter."""
        return self.sent - self.verdicts - self.dead_letters

    @property
    def events_per_second(self) -> float:
        """From the first transaction sent to the latest verdict."""
        elapsed_s = self.last_verdict_s - self.first_sent_s
        return self.verdicts / elapsed_s if elapsed_s > 0 else 0.0

    def is_ours(self, transaction_id: str) -> bool:
        """Whether this run sent it."""
        return transaction_id in self.answered or transaction_id in self.waiting

    def note_sent(self, transaction_id: str, measured_from_s: float) -> None:
        """Books a transaction before it leaves."""
        if not self.sent:
            self.first_sent_s = measured_from_s
        self.waiting.setdefault(transaction_id, []).append(measured_from_s)
        self.sent += 1

    def note_verdict(self, transaction_id: str, now_s: float, *, flagged: bool = False) -> bool:
        """Books a verdict; False where it answers nothing that waits."""
        moments = self.waiting.get(transaction_id)
        if not moments:
            if transaction_id in self.answered:
                self.repeated += 1
            else:
                self.foreign += 1
            return False
        self.latencies_s.append(now_s - moments.pop(0))
        if not moments:
            del self.waiting[transaction_id]
        self.answered[transaction_id] += 1
        self.last_verdict_s = now_s
        if flagged:
            self.flagged.add(transaction_id)
        return True

    def note_dead_letter(self, value: bytes) -> None:
        """Books a dead letter, if it is one of ours."""
        with suppress(msgspec.DecodeError):
            moments = self.waiting.get(msgspec.json.decode(value, type=_Identified).transaction_id)
            if moments:
                moments.pop(0)
                self.dead_letters += 1

    def latency_ms(self, *percentiles: float) -> dict[str, float | None]:
        """Percentiles of the time to the verdict: 99.9 is called p999."""
        names = [f"p{percentile:g}".replace(".", "") for percentile in percentiles]
        if not self.latencies_s:
            return dict.fromkeys(names)
        values = np.percentile(self.latencies_s, percentiles) * 1000
        return {name: round(float(value), 2) for name, value in zip(names, values, strict=True)}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to send.

    Args:
        rate: transactions per second on a fixed schedule; None: as fast as verdicts come back.
        most_in_flight: waits when so many have no verdict yet; None: never waits.
        from_schedule: measures from the moment at which a transaction was due, not from when it was sent: else a
            system that stalls would stop the clock too (coordinated omission).
    """

    rate: float | None
    most_in_flight: int | None
    from_schedule: bool = False


Watch = Callable[[Tally, list[SeenVerdict]], None]
"""Told of the new verdicts, possibly none, several times a second; may raise to end the run."""


class StreamClient:
    """One run of transactions through a worker.

    Args:
        stream: connected to the broker.
        settings: whose topics they are.
        watch: looks at every batch of verdicts as it comes.
    """

    def __init__(self, stream: TransactionStream, settings: Settings, watch: Watch) -> None:
        self._stream = stream
        self._settings = settings
        self._watch = watch
        self._decode = msgspec.json.Decoder(SeenVerdict).decode
        self.tally = Tally()

    async def run(self, transactions: Sequence[Outgoing], pace: Pace, patience_s: float) -> Tally:
        """Sends all and waits for their verdicts, until none came for `patience_s` seconds.

        Raises:
            BrokerError: the broker refuses or does not answer.
        """
        sending = asyncio.ensure_future(self._send_all(transactions, pace))
        heard_s = time.perf_counter()
        try:
            while not sending.done() or self.tally.in_flight > 0:
                before = self.tally.in_flight
                await self._receive()
                now_s = time.perf_counter()
                if self.tally.in_flight != before:
                    heard_s = now_s
                elif now_s - heard_s > patience_s and (sending.done() or self._is_full(pace)):
                    break
            await self._wait_for_alerts()
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        return self.tally

    def _is_full(self, pace: Pace) -> bool:
        return pace.most_in_flight is not None and self.tally.in_flight >= pace.most_in_flight

    async def _send_all(self, transactions: Sequence[Outgoing], pace: Pace) -> None:
        started_s, at = time.perf_counter(), 0
        while at < len(transactions):
            now_s = time.perf_counter()
            due = len(transactions) if pace.rate is None else int((now_s - started_s) * pace.rate) + 1
            room = SEND_ROWS if pace.most_in_flight is None else pace.most_in_flight - self.tally.in_flight
            count = min(due - at, room, SEND_ROWS, len(transactions) - at)
            if count <= 0:
                await asyncio.sleep(TICK_S)
                continue
            rows = transactions[at : at + count]
            for row, transaction in enumerate(rows, at):
                planned_s = started_s + row / pace.rate if pace.rate and pace.from_schedule else now_s
                self.tally.note_sent(transaction.transaction_id, planned_s)
            await self._stream.send((row.key, row.value) for row in rows)
            at += count
            if pace.rate is not None and pace.rate * TICK_S >= MANY:
                await asyncio.sleep(now_s + TICK_S - time.perf_counter())

    async def _receive(self) -> None:
        received = await self._stream.receive(RECEIVE_WAIT_S)
        now_s, ours = time.perf_counter(), list[SeenVerdict]()
        for topic, value in received:
            if topic == self._settings.verdicts_topic:
                verdict = self._decode(value)
                if self.tally.note_verdict(verdict.transaction_id, now_s, flagged=verdict.flagged):
                    ours.append(verdict)
            elif topic == self._settings.alerts_topic:
                self.tally.alerts += self.tally.is_ours(self._decode(value).transaction_id)
            else:
                self.tally.note_dead_letter(value)
        self._watch(self.tally, ours)

    async def _wait_for_alerts(self) -> None:
        deadline_s = time.perf_counter() + ALERTS_WAIT_S
        while self.tally.alerts < len(self.tally.flagged) and time.perf_counter() < deadline_s:
            await self._receive()


def cpu_seconds(pid: int) -> float | None:
    """CPU time that a process has used so far; None where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    user_ticks, system_ticks = int(fields[11]), int(fields[12])
    return (user_ticks + system_ticks) / os.sysconf("SC_CLK_TCK")
