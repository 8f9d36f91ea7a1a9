"""Builds the Faust app of a worker from settings: `create_app` ties transport, table, agent and web view together."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from fraudstream.adapters.audit_store import SQLITE_FILE, AuditStore, make_store
from fraudstream.adapters.consumer_group import require_same_keying
from fraudstream.adapters.kafka_topics import check_topics
from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.profile_cache import profile_cache
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.agents import transport
from fraudstream.agents.assignor import MovingAssignor
from fraudstream.agents.batch_metrics import BatchMetrics
from fraudstream.agents.caching import WRITE_TIMEOUT_S, CacheWriter
from fraudstream.agents.fatal import EXIT_FAULT, EXIT_SETTINGS, stop_for_store, stop_process
from fraudstream.agents.faust_app import PlainApp, common_options
from fraudstream.agents.loop_lag import watch_loop
from fraudstream.agents.membership import Membership
from fraudstream.agents.outage import Outage
from fraudstream.agents.owners import FaustAssignment, WorkerProfiles
from fraudstream.agents.producers import Producers
from fraudstream.agents.recovery import ProfileTableManager
from fraudstream.agents.rekeying import Rekeying
from fraudstream.agents.reload import ModelReload
from fraudstream.agents.restore import ProfileRestore
from fraudstream.agents.results import verdict_topic
from fraudstream.agents.scoring import Scoring
from fraudstream.agents.sinks import Sink, Sinks
from fraudstream.agents.standby import Standby
from fraudstream.agents.worker import FraudWorker
from fraudstream.detector import load_detector, warm_up
from fraudstream.errors import FraudstreamError
from fraudstream.pipeline import Detector, Outcome
from fraudstream.settings import Settings
from fraudstream.tables.profiles import Profiles, profile_table
from fraudstream.tables.store import ProfileStore
from fraudstream.topics import changelog_topic, judged_topic, worker_topics
from fraudstream.web.cached_profiles import CachedProfiles
from fraudstream.web.console import mount_console
from fraudstream.web.live import LiveFeed
from fraudstream.web.lookup import Lookup
from fraudstream.web.mount import drain, mount

POLL_RECORDS = 4096
"""In a fetch; under a backlog whole slices of one partition come together, whose verdicts leave in one batch."""
METADATA_AGE_MS = 10_000
"""So soon a worker sees that partitions were added; the client's own 5 minutes would judge moved users meanwhile."""

STOPS_WITHIN_S = 15.0
"""Without DRAIN_S, and with time to spare before Kubernetes kills without a word."""


class FraudApp(PlainApp):
    """The Faust app, with a check of its topics before anything starts, and what users may look at."""

    settings: Settings
    bootstrap: str
    worker: FraudWorker
    outage: Outage
    scoring: Scoring
    profiles: Profiles
    reload: ModelReload
    metrics: Metrics
    lookup: Lookup
    evidence: AuditStore | None
    """Where the console looks up what it has not seen itself; only read here, the audit sink writes it."""
    cache_writer: CacheWriter | None
    """Where REDIS_HOST is set."""
    sinks: Sinks
    tables: Any
    web: Any
    consumer: Any
    embedded_broker: Any = None
    """The broker inside this process, where one serves; it lives as long as the app."""

    @property
    def detector(self) -> Detector:
        """What judges now."""
        return self.scoring.detector

    @cached_property
    def verdicts(self) -> Any:
        """The topic of verdicts, for agents of one's own: its values are `Verdict`s, its keys user_ids."""
        return verdict_topic(self, self.settings.verdicts_topic)

    @cached_property
    def alerts(self) -> Any:
        """The topic of alerts, likewise."""
        return verdict_topic(self, self.settings.alerts_topic)

    async def on_first_start(self) -> None:
        """Refuses to start on topics that would break the worker's promises."""
        try:
            problems = await check_topics(self.settings, self.bootstrap, worker_topics(self.settings))
            await require_same_keying(self.settings, self.bootstrap)
        except FraudstreamError as error:
            stop_process(str(error), EXIT_SETTINGS)
        if problems:
            stop_process("cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems), EXIT_SETTINGS)
        warm_up(self.detector)
        self.add_future(self.reload.run())
        self.add_future(self.worker.watch_liveness())
        self.add_future(self.outage.watch())
        self.add_future(watch_loop(self.metrics.loop_lag))
        if self.cache_writer is not None:
            self.cache_writer.start()
        for run in self.sinks.runs():
            self.add_future(run)
        await super().on_first_start()

    async def settle(self) -> None:
        """Before partitions move: what is not committed by now is not waited for, their next owner reads it again."""
        await self.scoring.settle()
        self.consumer._unacked_messages.clear()

    async def stop(self) -> None:
        """Says first that it is not ready, lets requests under way end, then stops as Faust does, or without Kafka."""
        await drain(self.web.web_app)
        patience = asyncio.get_running_loop().call_later(
            STOPS_WITHIN_S,
            stop_process,
            f"stops without a last checkpoint: it was not done within {STOPS_WITHIN_S:.0f} s, which is so where Kafka "
            "does not answer; nothing was committed by halves, the next start goes on from the last checkpoint",
            EXIT_FAULT,
        )
        try:
            await super().stop()
        finally:
            patience.cancel()

    async def on_shutdown(self) -> None:
        """Lets the producers go, after everything that was judged is committed."""
        await self.worker.stop()
        if self.cache_writer is not None:
            await self.cache_writer.stop()
        await self.sinks.stop()
        if self.evidence is not None:
            await self.evidence.close()
        await super().on_shutdown()


def create_app(
    settings: Settings,
    bootstrap: str,
    *,
    embedded: bool = False,
    detector: Detector | None = None,
    observe: Callable[[Outcome], None] | None = None,
    sinks: Iterable[Sink] = (),
) -> FraudApp:
    """The Faust app that scores.

    Args:
        settings: of this worker.
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        embedded: the broker is the embedded one, which keeps no offsets that come with a transaction.
        detector: a loaded detector; loaded from the settings where None.
        observe: shown every outcome before anything of it is sent.
        sinks: shown the verdicts of every checkpoint after it is committed.

    Raises:
        FraudstreamError: the settings or the model cannot be used; says why.
    """
    app = _faust_app(settings, bootstrap)
    app.settings, app.bootstrap = settings, bootstrap
    app.metrics = Metrics()
    store = _keep_profiles(app)
    producers = Producers(settings, bootstrap)
    _judge(app, detector or load_detector(settings), producers, observe, sinks)
    assignment = FaustAssignment(app, judged_topic(settings), producers)
    sources = WorkerProfiles(settings, app.profiles, assignment, CachedProfiles.of(settings, app.metrics))
    membership = Membership(settings)
    _employ(app, sources, producers, membership)
    app.cache_writer = _cache_writer(app, store, assignment)
    transport.install(
        app,
        judged_topic(settings),
        whole_batches=True,
        commits_in_transaction=not embedded,
        before_assigned=app.worker.fence,
        before_empty=app.settle,
        membership=membership,
    )
    _declare_agent(app)
    _mount_views(app, sources)
    return app


def _keep_profiles(app: FraudApp) -> ProfileStore:
    """The table of profiles, and what fills its store from the changelog."""
    table = profile_table(app, app.settings.topic_partitions)
    table.store.on_fault = stop_for_store
    table.store.on_set_aside = lambda _partition: app.metrics.stores_damaged.inc()
    app.metrics.before_text.append(lambda: app.metrics.observe_store(table.store.memory_bytes()))
    app.profiles = Profiles(table.store, app.settings.profile_cache_size)
    app.tables.restore, app.tables.standby = (
        make(app.settings, app.bootstrap, changelog_topic(app.settings), table.store)
        for make in (ProfileRestore, Standby)
    )
    return table.store


def _judge(
    app: FraudApp,
    detector: Detector,
    producers: Producers,
    observe: Callable[[Outcome], None] | None,
    sinks: Iterable[Sink],
) -> None:
    """The judging, the model it judges by, and those who are shown what it commits."""
    app.metrics.observe_model(detector.model_version)
    app.scoring = Scoring(app.settings, detector, app.profiles, producers, BatchMetrics(app.metrics), observe)
    app.reload = ModelReload(app.settings, app.scoring, app.metrics)
    app.sinks = Sinks(sinks, app.settings.sink_queue_verdicts, app.metrics)
    if app.sinks:
        app.scoring.on_verdicts_committed = app.sinks.offer


def _employ(app: FraudApp, sources: WorkerProfiles, producers: Producers, membership: Membership) -> None:
    """The worker around the judging, and the watch over what it sends."""
    settings, bootstrap = app.settings, app.bootstrap
    app.worker = FraudWorker(
        app, settings, sources, producers, app.tables.restore, app.tables.standby, app.scoring, app.reload,
        TransactionRecorder(settings, bootstrap), app.metrics, membership, bootstrap, _rekeying(app),
    )  # fmt: skip
    app.outage = Outage(
        app.worker.senders,
        membership,
        app.worker.misses_source,
        lambda: check_topics(settings, bootstrap, worker_topics(settings)),
    )
    for sender in app.worker.senders:
        sender.on_fault = app.outage.begin_anew
    app.scoring.lag = app.worker.lag
    app.metrics.before_text.append(app.worker.note_state)


def _mount_views(app: FraudApp, sources: WorkerProfiles) -> None:
    """The HTTP routes and the console."""
    mount(app.web.web_app, app.worker)
    feed = LiveFeed(app.settings, app.worker.health)
    app.scoring.watch = feed.observe
    app.evidence = _evidence_store(app.settings)
    app.lookup = Lookup(feed.recent, app.worker.profiles, app.evidence)
    mount_console(app.web.web_app, feed, app.lookup)
    sources.mount(app.web.web_app)


def _rekeying(app: FraudApp) -> Rekeying | None:
    if app.settings.keying == "strict":
        return None

    def count(moved: int, refused: Sequence[str]) -> None:
        app.metrics.rekeyed.inc(moved)
        app.metrics.count_dead_letters(refused)

    return Rekeying(app.settings, app.bootstrap, count)


def _evidence_store(settings: Settings) -> AuditStore | None:
    # A reader must not make the file: an empty audit trail beside none would look like a lost one.
    if settings.postgres_url is None and not (settings.data_dir / SQLITE_FILE).exists():
        return None
    return make_store(settings)


def _cache_writer(app: FraudApp, store: ProfileStore, assignment: FaustAssignment) -> CacheWriter | None:
    if app.settings.redis_host is None:
        return None
    cache = profile_cache(app.settings, WRITE_TIMEOUT_S)
    writer = CacheWriter(cache, store, assignment.restored_partitions, app.metrics)
    app.scoring.on_profiles_committed = writer.hand_over
    return writer


def _faust_app(settings: Settings, bootstrap: str) -> FraudApp:
    return FraudApp(
        settings.app_id,
        **common_options(settings, bootstrap),
        store="rocksdb://",
        TableManager=ProfileTableManager,
        PartitionAssignor=MovingAssignor,
        topic_partitions=settings.topic_partitions,
        stream_buffer_maxsize=4096,
        broker_max_poll_records=POLL_RECORDS,
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        producer_linger=0,
        canonical_url=worker_url(settings),
        web_port=settings.web_port,
    )


def worker_url(settings: Settings) -> str:
    """Where other workers reach this one; every worker's must be its own, or Faust takes two for one."""
    host = socket.gethostname() if _is_every_address(settings.web_host) else settings.web_host
    return settings.worker_url or f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}"


def _is_every_address(host: str) -> bool:
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def _declare_agent(app: FraudApp) -> None:
    source = app.topic(judged_topic(app.settings), schema=transport.ChunkSchema())

    @app.agent(source, name="scoring", concurrency=1)
    async def score(stream: Any) -> None:
        """Judges every transaction, exactly once."""
        app.scoring.ack = stream.ack
        ticking = asyncio.ensure_future(app.worker.checkpoint_regularly())
        try:
            async for event in stream.noack().events():
                app.consumer.chunk_taken.set()
                waiting = app.scoring.hand_over(event)
                if app.consumer.queued_chunks() and waiting < app.settings.topic_partitions:
                    continue  # the chunks of all partitions of one fetch are judged together
                await app.scoring.take()
        finally:
            ticking.cancel()
