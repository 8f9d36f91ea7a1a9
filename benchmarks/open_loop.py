"""Sends requests at a fixed rate whatever comes back, and measures each from the moment at which it was due.

A sender that waits for answers would send less just when the server is slow, and would not see the waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

CONNECTIONS = 16
ANSWER_WITHIN_S = 30.0
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Answers:
    """What came back.

    Attributes:
        latencies_s: of each answer, from the moment at which its request was due.
        statuses: how many of each HTTP status; 0 for a connection that broke.
        bodies: of the answers, as far as they were asked for.
    """

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answers does not exceed, in ms."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    @property
    def failed(self) -> int:
        """Requests that were not answered by 200."""
        return sum(count for status, count in self.statuses.items() if status != 200)  # noqa: PLR2004


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time: as little work as possible beside the server that is measured."""

    def __init__(self, is_free: Callable[[_Connection], None], answers: Answers, keep_bodies: bool) -> None:
        self._is_free = is_free
        self._answers = answers
        self._keep_bodies = keep_bodies
        self._due_s: float | None = None
        self._received = b""
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes, due_s: float) -> None:
        assert self.transport is not None
        self._due_s = due_s
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self._received = b""
        if self._keep_bodies:
            self._answers.bodies.append(body)
        self._end(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._due_s is not None:
            self._end(0)

    def _end(self, status: int) -> None:
        assert self._due_s is not None
        self._answers.latencies_s.append(self._loop.time() - self._due_s)
        self._answers.statuses[status] += 1
        self._due_s = None
        self._is_free(self)


async def send_at_rate(
    port: int, request_of: Callable[[int], bytes], rate: float, seconds: float, *, keep_bodies: bool = False
) -> Answers:
    """Sends on schedule to a server on loopback, over 16 connections; a request waits where none of them is free.

    Args:
        request_of: the bytes of the n-th request.
        rate: requests per second.
        keep_bodies: whether the answers' bodies are wanted.

    Raises:
        TimeoutError: answers are missing long after the last request.
    """
    loop, total = asyncio.get_running_loop(), round(rate * seconds)
    pool = _Pool(port, total, keep_bodies)
    for _ in range(CONNECTIONS):
        await pool.connect()
    began_s = loop.time()
    for number in range(total):
        due_s = began_s + number / rate
        await asyncio.sleep(due_s - loop.time())
        pool.send(request_of(number), due_s)
    async with asyncio.timeout(ANSWER_WITHIN_S):
        await pool.all_answered.wait()
    pool.close()
    return pool.answers


class _Pool:
    """The connections, and the requests that wait for one."""

    def __init__(self, port: int, total: int, keep_bodies: bool) -> None:
        self.answers = Answers()
        self.all_answered = asyncio.Event()
        self._port = port
        self._total = total
        self._keep_bodies = keep_bodies
        self._free: deque[_Connection] = deque()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._connecting: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._is_free, self.answers, self._keep_bodies), "127.0.0.1", self._port
        )
        self._use(connection)

    def send(self, request: bytes, due_s: float) -> None:
        while self._free and self._free[-1].transport is None:
            self._free.pop()
            self._reconnect()
        if self._free:
            self._free.pop().send(request, due_s)
        else:
            self._waiting.append((request, due_s))

    def close(self) -> None:
        for connection in self._free:
            if connection.transport is not None:
                connection.transport.close()

    def _is_free(self, connection: _Connection) -> None:
        if len(self.answers.latencies_s) == self._total:
            self.all_answered.set()
        if connection.transport is None:
            self._reconnect()
        else:
            self._use(connection)

    def _use(self, connection: _Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def _reconnect(self) -> None:
        task = asyncio.get_running_loop().create_task(self.connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """A POST of JSON as it travels."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
