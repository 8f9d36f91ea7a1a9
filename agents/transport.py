"""Chunked transport: all that was fetched of one partition reaches the agent as one message.

Faust's cost is per message (two tasks, queue, stream, ack), so it is paid once per chunk. A chunk's offset is its last
record's; needs an agent of concurrency 1 that acks in order. Also mends, for these topics, the loss of messages that
were fetched before a seek (faust-streaming issue 596): nothing fetched before a seek is ever delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, cast

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from fraudstream.agents.fetched_batches import fetch_whole
from fraudstream.agents.membership import Membership
from fraudstream.agents.paced_fetches import pace

FETCH_WAIT_MS = 50
"""How long a broker may wait for records; Faust's fixed 1,500 ms would delay shutdown and the first record."""

BACKLOG_POLL_S = 0.02
YIELD_EVERY = 100

_STOPPED: tuple[type[BaseException], ...] = (asyncio.CancelledError, *driver.Consumer.consumer_stopped_errors)

PartitionsHook = Callable[[set[TP]], Awaitable[None]]


class Chunk:
    """Stands where a client's record would; `value` is the list of records, or of whole batches."""

    __slots__ = ("offset", "partition", "timestamp", "topic", "value")
    timestamp_type = 0
    headers: tuple[()] = ()
    key = None
    checksum = None
    serialized_key_size = serialized_value_size = 0

    def __init__(self, records: list[Any]) -> None:
        last = records[-1]
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset: int = last.offset
        self.timestamp: int = last.timestamp
        self.value = records


class ChunkSchema(faust.Schema):  # type: ignore[type-arg]
    """Leaves a chunk as it is: decoding belongs to the pipeline."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:
        return None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        return message.value


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread: waits briefly, and never hands over what a producer aborted."""

    async def on_start(self) -> None:
        """Starts the client; nothing is subscribed to yet."""
        await super().on_start()
        owner, client = cast(ChunkConsumer, self.consumer), cast(Any, self._consumer)
        owner.membership.watch(client._coordinator)
        if owner.whole_batches:
            fetch_whole(client, owner.chunked_topic)  # paced too
        else:
            pace(client)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._isolation_level = "read_committed"
        return consumer


class ChunkConsumer(driver.Consumer):
    """Delivers chunks, fetches on demand, and lets a worker fence and settle around a rebalance.

    Class attributes are set by `install`, because Faust makes the instance itself.
    """

    chunked_topic: ClassVar[str]
    whole_batches: ClassVar[bool]
    commits_in_transaction: ClassVar[bool]
    before_assigned: ClassVar[PartitionsHook]
    before_empty: ClassVar[Callable[[], Awaitable[None]]]
    membership: ClassVar[Membership]

    _epoch = 0
    _fetch_epoch = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chunk_taken = asyncio.Event()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Rebalance

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fences the previous owners before anything of these partitions is read."""
        await type(self).before_assigned(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Commits what was processed; Faust would otherwise wait for acks that come with the next checkpoint."""
        await type(self).before_empty()
        await super().wait_empty()

    # Fetching

    @property
    def _channels(self) -> Mapping[TP, Any]:
        topics: Any = self.app.topics  # Faust's interface does not show its index
        index: Mapping[TP, Any] = topics._tp_index
        return index

    def queued_chunks(self) -> int:
        """Chunks that were fetched and wait for the agent."""
        channels = self._channels
        return sum(
            channel.queue.qsize()
            for tp in (self._active_partitions or ())
            if tp.topic == self.chunked_topic
            for channel in channels.get(tp, ())
        )

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        # While a chunk waits for the agent, records gather in the client's buffers and the next chunk is larger;
        # Faust's own flow control would sleep a whole second instead.
        while self.queued_chunks() and self.flow_active and not self.should_stop:
            self.chunk_taken.clear()
            try:
                async with asyncio.timeout(BACKLOG_POLL_S):
                    await self.chunk_taken.wait()
            except TimeoutError:
                continue
        self._fetch_epoch = self._epoch
        fetched = await super()._getmany(active_partitions, timeout)
        return {
            tp: [Chunk(records)] if tp.topic == self.chunked_topic and records else records
            for tp, records in fetched.items()
        }

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                fetched = self.getmany(timeout=1.0)
                await asyncio.sleep(0)
                if self.should_stop:
                    return
                await self._deliver(fetched)
        except _STOPPED:
            if not self.transport.app.should_stop:
                raise

    async def _deliver(self, fetched: Any) -> None:
        delivered = 0
        async for tp, message in fetched:
            delivered += 1
            if delivered % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if self._epoch != self._fetch_epoch:  # a seek happened since this fetch began
                await self._seek_again()
                return
            read = self._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if read and message.offset - read > 1 and self.app.topics.acks_enabled_for(message.topic):
                await self._add_gap(tp, read + 1, message.offset)
            if self._can_deliver_at_once(tp):
                await self.callback(message)
            else:
                await self.wait_first(self.callback(message), self.suspend_flow.wait())
            if self._epoch != self._fetch_epoch:
                await self._seek_again()
                return
            self._read_offset[tp] = message.offset

    def _can_deliver_at_once(self, tp: TP) -> bool:
        """Whether the callback cannot block: then it needs no tasks of its own."""
        buffer, channels = self.app.producer.buffer, self._channels.get(tp)
        return bool(
            self.flow_active
            and self.app.flow_control.is_active()
            and buffer.size <= buffer.max_messages
            and channels
            and not any(channel.queue.full() for channel in channels)
        )

    # Seeks

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets; what was fetched before is void from here on."""
        self.stop_flow()  # every caller resumes the flow afterwards
        self._epoch += 1
        await self._seek_again()

    async def _seek_again(self) -> None:
        await super().perform_seek()
        uncommitted = [
            tp
            for tp in self.assignment()
            if self.app.topics.acks_enabled_for(tp.topic) and not self._committed_offset[tp]
        ]
        if uncommitted and self.app.conf.consumer_auto_offset_reset == "earliest":
            await self._thread.seek_to_beginning(*[driver.ensure_aiokafka_TP(tp) for tp in uncommitted])
            for tp in uncommitted:
                self._read_offset[tp] = None

    # Offsets

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic != self.chunked_topic:  # a chunk's earlier offsets are not acked before it is processed
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic != self.chunked_topic:
            return super()._new_offset(tp)
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        # The checkpoint's transaction has committed the chunks'; a second commit, later, could set them back.
        if not self.commits_in_transaction:
            return await super()._commit_offsets(offsets, start_new_transaction)
        self._committed_offset.update({tp: at for tp, at in offsets.items() if tp.topic == self.chunked_topic})
        of_others = {tp: at for tp, at in offsets.items() if tp.topic != self.chunked_topic}
        return await super()._commit_offsets(of_others, start_new_transaction) if of_others else True


def highwater(consumer: Any, tp: TP) -> int | None:
    """The end of a partition as of the last fetch; None where it is not this consumer's, or no more.

    The client's own raises in the moment in which a partition was taken away and its loss is not yet told.
    """
    assignment = consumer._thread._consumer._subscription.subscription.assignment
    if assignment is None or driver.ensure_aiokafka_TP(tp) not in assignment.tps:
        return None
    end: int | None = assignment.state_value(driver.ensure_aiokafka_TP(tp)).highwater
    return end


def known_partitions(consumer: Any, topic: str) -> int:
    """How many partitions the topic has, as of the client's last look."""
    return len(consumer._thread._consumer._client.cluster.partitions_for_topic(topic) or ())


def unread(consumer: Any, tp: TP) -> int:
    """Offsets of a partition that a read_committed reader could have been given and was not, as of the last fetch."""
    assignment = consumer._thread._consumer._subscription.subscription.assignment
    if assignment is None or driver.ensure_aiokafka_TP(tp) not in assignment.tps:
        return 0
    state = assignment.state_value(driver.ensure_aiokafka_TP(tp))
    if state.lso is None or not state.has_valid_position:
        return 0
    return max(int(state.lso) - int(state.position), 0)


def install(
    app: faust.App,
    topic: str,
    *,
    whole_batches: bool,
    commits_in_transaction: bool,
    before_assigned: PartitionsHook,
    before_empty: Callable[[], Awaitable[None]],
    membership: Membership,
) -> None:
    """Gives an app a chunked transport for one topic; `whole_batches`: of a `FetchedBatch` each, not of records."""
    consumer = type(
        "Consumer",
        (ChunkConsumer,),
        {
            "chunked_topic": topic,
            "whole_batches": whole_batches,
            "commits_in_transaction": commits_in_transaction,
            "before_assigned": staticmethod(before_assigned),
            "before_empty": staticmethod(before_empty),
            "membership": membership,
        },
    )
    transport = type("Transport", (driver.Transport,), {"Consumer": consumer})
    app.transport = transport(app.conf.broker_consumer, app)
