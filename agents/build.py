"""Builds the Faust app of a worker from settings: `create_app` ties transport, table, agent and web view together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import faust
from faust.web.base import BlueprintManager

from fraudstream.adapters.kafka_topics import check_topics
from fraudstream.adapters.metrics import Metrics
from fraudstream.agents import transport
from fraudstream.agents.credentials import credentials
from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.agents.producers import Producers
from fraudstream.agents.recovery import ProfileRestore, ProfileTableManager
from fraudstream.agents.reload import ModelReload
from fraudstream.agents.scoring import Scoring
from fraudstream.agents.worker import FraudWorker
from fraudstream.detector import load_detector, warm_up
from fraudstream.errors import FraudstreamError
from fraudstream.pipeline import Detector, Outcome
from fraudstream.settings import Settings
from fraudstream.tables.profiles import Profiles, profile_table
from fraudstream.topics import changelog_topic
from fraudstream.web.views import Views, errors_as_json

POLL_RECORDS = 1024
HEARTBEATS_PER_SESSION = 4
REQUEST_TIMEOUT_S = 90.0


class FraudApp(faust.App):
    """The Faust app, with a check of its topics before anything starts, and what users may look at."""

    settings: Settings
    bootstrap: str
    worker: FraudWorker
    scoring: Scoring
    profiles: Profiles
    reload: ModelReload
    metrics: Metrics
    tables: Any
    web: Any
    consumer: Any
    embedded_broker: Any = None
    """The broker inside this process, where one serves; it lives as long as the app."""

    def _new_web(self) -> Any:
        web = super()._new_web()
        web.blueprints = BlueprintManager([])  # Faust's own pages, the one at / included
        return web

    @property
    def detector(self) -> Detector:
        """What judges now."""
        return self.scoring.detector

    async def on_first_start(self) -> None:
        """Refuses to start on topics that would break the worker's promises."""
        try:
            problems = await check_topics(self.settings, self.bootstrap)
        except FraudstreamError as error:
            stop_process(str(error), EXIT_SETTINGS)
        if problems:
            stop_process("cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems), EXIT_SETTINGS)
        warm_up(self.detector)
        self.add_future(self.reload.run())
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        """Lets the producers go, after everything that was judged is committed."""
        await self.worker.stop()
        await super().on_shutdown()


def create_app(
    settings: Settings,
    bootstrap: str,
    *,
    embedded: bool = False,
    detector: Detector | None = None,
    observe: Callable[[Outcome], None] | None = None,
) -> FraudApp:
    """The Faust app that scores.

    Args:
        settings: of this worker.
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        embedded: the broker is the embedded one, which keeps no offsets that come with a transaction.
        detector: a loaded detector; loaded from the settings where None.
        observe: shown every outcome before anything of it is sent.

    Raises:
        FraudstreamError: the settings or the model cannot be used; says why.
    """
    app = _faust_app(settings, bootstrap)
    app.settings, app.bootstrap = settings, bootstrap
    detector = detector or load_detector(settings)
    app.metrics = Metrics()
    app.metrics.observe_model(detector.model_version)
    table = profile_table(app, settings.topic_partitions)
    app.profiles = Profiles(table.store, settings.profile_cache_size)
    producers = Producers(settings, bootstrap)
    app.scoring = Scoring(settings, detector, app.profiles, producers, app.metrics, observe)
    restore = ProfileRestore(settings, bootstrap, changelog_topic(settings), table.store)
    app.tables.restore = restore
    app.reload = ModelReload(settings, app.scoring, app.metrics)
    app.worker = FraudWorker(app, settings, app.profiles, producers, restore, app.scoring, app.reload)
    app.scoring.lag = app.worker.lag
    transport.install(
        app,
        settings.transactions_topic,
        commits_in_transaction=not embedded,
        before_assigned=app.worker.fence,
        before_empty=app.scoring.settle,
    )
    _declare_agent(app)
    Views(settings, app.worker, app.metrics).mount(app.web.web_app)
    return app


def _faust_app(settings: Settings, bootstrap: str) -> FraudApp:
    return FraudApp(
        settings.app_id,
        broker=[f"kafka://{server.strip()}" for server in bootstrap.split(",")],
        broker_credentials=credentials(settings),
        store="rocksdb://",
        datadir=str(settings.data_dir.absolute()),
        TableManager=ProfileTableManager,
        topic_partitions=settings.topic_partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_buffer_maxsize=4096,
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.kafka_session_timeout_s,
        broker_heartbeat_interval=settings.kafka_session_timeout_s / HEARTBEATS_PER_SESSION,
        broker_request_timeout=max(REQUEST_TIMEOUT_S, settings.kafka_session_timeout_s),
        broker_max_poll_records=POLL_RECORDS,
        broker_commit_interval=0.5,
        producer_linger=0,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        web_port=settings.web_port,
        web_application_options={"client_max_size": settings.max_body_bytes, "middlewares": [errors_as_json]},
    )


def _declare_agent(app: FraudApp) -> None:
    source = app.topic(app.settings.transactions_topic, schema=transport.ChunkSchema())

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
