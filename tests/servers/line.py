"""A line between Kafka clients and a broker that loses what it is told to lose; nothing is changed on its way.

The broker must tell clients the line's port instead of its own (`KafkaCluster(told_port=...)`).
"""

from __future__ import annotations

import asyncio
import struct

from tests.servers.loop_thread import LoopThread
from tests.servers.ports import free_port

PRODUCE, INIT_PRODUCER_ID, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 0, 22, 25, 26, 28
"""Kafka's numbers of requests."""

_HEAD = struct.Struct(">ih")  # size of what follows, number of the request
READ_BYTES = 1024 * 1024
ANSWER_WITHIN_S = 0.5


class Line(LoopThread):
    """Listens on `port` from `__enter__` to `__exit__`.

    Attributes:
        lost: how many answers were lost, by the number of their request.
    """

    def __init__(self) -> None:
        super().__init__("line")
        self.port = free_port()
        self.lost: dict[int, int] = {}
        self._to_port = 0
        self._losing: int | None = None
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def lead_to(self, port: int) -> None:
        """Where the broker really listens."""
        self._to_port = port

    def lose_answer(self, request: int) -> None:
        """The broker gets the next request of this number; its answer is lost with its connection."""
        self._losing = request

    def cut(self) -> None:
        """Ends every connection and takes no new one."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._drop_all)

    def mend(self) -> None:
        """Takes connections again."""
        self._is_cut = False

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop_all()

    def _drop_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_broker}
        is_lost = asyncio.Event()
        passing = [
            asyncio.ensure_future(self._pass_requests(reader, to_broker, is_lost)),
            asyncio.ensure_future(self._pass_answers(from_broker, writer, is_lost)),
        ]
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        for each in passing:
            each.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        for each_writer in (writer, to_broker):
            self._writers.discard(each_writer)
            each_writer.transport.abort()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_lost: asyncio.Event
    ) -> None:
        while True:
            head = await reader.readexactly(_HEAD.size)
            size, request = _HEAD.unpack(head)
            body = await reader.readexactly(size - _HEAD.size + 4)
            if request == self._losing:
                self._losing = None
                self.lost[request] = self.lost.get(request, 0) + 1
                is_lost.set()
            writer.write(head + body)
            await writer.drain()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_lost: asyncio.Event
    ) -> None:
        while data := await reader.read(READ_BYTES):
            if is_lost.is_set():
                await asyncio.sleep(ANSWER_WITHIN_S)  # the broker has done what was asked
                return
            writer.write(data)
            await writer.drain()
