"""Builds the Faust app of the audit sink: `create_audit_app` ties transport, store, agent and web view together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import TP

import fraudstream
from fraudstream.adapters.audit_metrics import AuditMetrics
from fraudstream.adapters.audit_store import AuditStore, make_store
from fraudstream.adapters.kafka_client import broker_answers
from fraudstream.adapters.kafka_topics import check_topics
from fraudstream.agents import transport
from fraudstream.agents.audit_sink import AuditSink
from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.agents.faust_app import PlainApp, common_options
from fraudstream.agents.labels import TICK_S as LABEL_TICK_S
from fraudstream.agents.labels import LabelJoin
from fraudstream.agents.liveness import Liveness, Work
from fraudstream.agents.loop_lag import watch_loop
from fraudstream.agents.membership import Membership
from fraudstream.agents.producers import dead_letter_message
from fraudstream.dead_letter import DeadLetter
from fraudstream.errors import AuditUnavailable, FraudstreamError
from fraudstream.settings import Settings
from fraudstream.topics import sink_topics
from fraudstream.web.audit_views import AuditHealth, AuditViews
from fraudstream.web.service import LivenessReport

log = logging.getLogger(__name__)

POLL_RECORDS = 2048
TICK_S = 0.05
LONGEST_OUTAGE_S = 14 * 86_400
"""A sink whose database is away fetches nothing; the client must not take that for a hung process."""


class AuditApp(PlainApp):
    """The Faust app of the sink; it has no tables."""

    settings: Settings
    bootstrap: str
    sink: AuditSink
    membership: Membership
    liveness_watch: Liveness
    labels: LabelJoin
    metrics: AuditMetrics
    audit_store: AuditStore
    topics: Any
    web: Any
    consumer: Any
    producer: Any

    async def on_first_start(self) -> None:
        """Refuses to start on topics or a database that somebody has to set up; waits for a database that is away."""
        try:
            problems = await check_topics(self.settings, self.bootstrap, sink_topics(self.settings))
            if problems:
                stop_process("cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems), EXIT_SETTINGS)
            await self.audit_store.check()
        except AuditUnavailable as error:
            log.warning("the sink starts without its database, verdicts wait: %s", error)
        except FraudstreamError as error:
            stop_process(str(error), EXIT_SETTINGS)
        self.add_future(self.liveness_watch.watch())
        self.add_future(watch_loop(self.metrics.loop_lag))
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        """Lets the database go."""
        await self.audit_store.close()
        await super().on_shutdown()

    async def settle(self) -> None:
        """Before partitions move: what is not stored by now is not waited for, its next owner stores it."""
        self.labels.forget()
        await self.sink.settle()
        self.consumer._unacked_messages.clear()

    async def send_dead_letter(self, letter: DeadLetter) -> None:
        """Sends what is no verdict to the dead letters, and returns once the broker has it."""
        key, value, headers = dead_letter_message(letter)
        sent = await self.producer.send(
            self.settings.dead_letters_topic, key, value, letter.partition, None, headers, transactional_id=None
        )
        await sent

    def partitions(self) -> tuple[int, ...]:
        """Partitions of the verdicts topic that this sink owns."""
        topic = self.settings.verdicts_topic
        return tuple(sorted(tp.partition for tp in self.consumer.assignment() if tp.topic == topic))

    def lag(self) -> int:
        """Offsets that are not stored yet, as far as the consumer knows; markers of transactions count as passed."""
        return self.sink.waiting + sum(
            transport.unread(self.consumer, TP(self.settings.verdicts_topic, partition))
            for partition in self.partitions()
        )

    def liveness(self) -> LivenessReport:
        """Whether a restart would mend anything."""
        return self.liveness_watch.report()

    def work(self) -> Work | None:
        """What the sink should get on with; without its database there is nothing."""
        if self.membership.is_silent():
            return Work(self.membership.heard_s, "the consumer group does not confirm this sink")
        if self.sink.problem is not None or not self.lag():
            return None
        return Work(("stored", self.sink.batches), "verdicts wait and none is stored")

    def health(self) -> AuditHealth:
        """The sink's state now."""
        partitions = self.partitions()
        problem = self.sink.problem
        problems = () if problem is None else (problem,)
        if self.membership.is_silent():
            problems = (f"no word from Kafka's group coordinator for {self.membership.silent_s():.0f} s", *problems)
        if not partitions:
            problems = ("no partitions are assigned to this sink yet", *problems)
        return AuditHealth(
            ready=not problems,
            problems=problems,
            partitions=partitions,
            lag=self.lag(),
            waiting=self.sink.waiting,
            rows=self.sink.stored,
            failures=self.sink.failures,
            version=fraudstream.__version__,
        )


def create_audit_app(settings: Settings, bootstrap: str) -> AuditApp:
    """The Faust app that stores verdicts.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        FraudstreamError: the settings cannot be used; says why.
    """
    app = _faust_app(settings, bootstrap)
    app.settings, app.bootstrap, app.metrics = settings, bootstrap, AuditMetrics()
    app.audit_store = make_store(settings)
    app.membership = Membership(settings)
    app.liveness_watch = Liveness(settings.liveness_stall_s, app.work, lambda: broker_answers(settings, bootstrap))
    app.sink = AuditSink(settings, app.audit_store, app.metrics, app.send_dead_letter)
    app.labels = LabelJoin(app.audit_store, app.metrics, app.send_dead_letter)
    transport.install(
        app,
        settings.verdicts_topic,
        whole_batches=False,
        commits_in_transaction=False,
        before_assigned=_nothing_to_fence,
        before_empty=app.settle,
        membership=app.membership,
    )
    _declare_agents(app)
    AuditViews(app, app.metrics).mount(app.web.web_app)
    return app


def _faust_app(settings: Settings, bootstrap: str) -> AuditApp:
    return AuditApp(
        settings.audit_consumer_group,
        **common_options(settings, bootstrap),
        broker_max_poll_records=POLL_RECORDS,
        broker_max_poll_interval=LONGEST_OUTAGE_S,
        web_port=settings.audit_web_port,
    )


async def _nothing_to_fence(_assigned: set[TP]) -> None:
    """The heads of the chains fence: a sink that lost its partitions adds nothing that another has added."""


def _declare_agents(app: AuditApp) -> None:
    source = app.topic(app.settings.verdicts_topic, schema=transport.ChunkSchema())
    label_source = app.topic(app.settings.labels_topic, schema=transport.ChunkSchema())

    @app.agent(source, name="audit", concurrency=1)
    async def audit(stream: Any) -> None:
        """Stores every verdict once."""
        app.sink.ack = stream.ack
        ticking = asyncio.ensure_future(_regularly(TICK_S, app.sink.tick))
        try:
            async for event in stream.noack().events():
                app.consumer.chunk_taken.set()
                await app.sink.take(event)
        finally:
            ticking.cancel()

    @app.agent(label_source, name="labels", concurrency=1)
    async def count_labels(stream: Any) -> None:
        """Holds labels beside the verdicts."""
        app.labels.ack = stream.ack
        ticking = asyncio.ensure_future(_regularly(LABEL_TICK_S, app.labels.tick))
        try:
            async for event in stream.noack().events():
                await app.labels.take(event)
        finally:
            ticking.cancel()


async def _regularly(every_s: float, tick: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        await tick()
