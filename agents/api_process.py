"""The process of `fraudstream api`: the worker's HTTP routes on profiles from the cache; no Faust, no state of its own.

A backlog in the stream never slows an answer here, and nothing that happens here reaches the stream, unless a request
asks for its transaction to be recorded.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

from aiohttp import web

import fraudstream
from fraudstream.adapters.metrics import Metrics
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.agents.loop_lag import watch_loop
from fraudstream.agents.reload import ModelReload
from fraudstream.detector import load_detector, warm_up
from fraudstream.errors import SettingsError
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.web.cached_profiles import CachedProfiles
from fraudstream.web.mount import drain, mount
from fraudstream.web.service import AnswerStore, HealthReport, LivenessReport, Recorder

log = logging.getLogger(__name__)

BACKLOG_CONNECTIONS = 1024
SHUTDOWN_TIMEOUT_S = 10.0


class ApiProcess:
    """What the routes need, put together from settings: `fraudstream.web.service.Service`.

    Raises:
        FraudstreamError: the model or the cache's address cannot be used; says why.
    """

    answers: AnswerStore | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.detector: Detector = load_detector(settings)
        self.metrics = Metrics("api")
        self.metrics.observe_model(self.detector.model_version)
        self.profiles = CachedProfiles.of(settings, self.metrics)
        self._kafka = TransactionRecorder(settings, settings.kafka_servers) if settings.kafka_servers else None
        self._reload = ModelReload(settings, self, self.metrics)

    @property
    def recorder(self) -> Recorder | None:
        """Takes transactions for the stream where KAFKA_SERVERS says which."""
        return self._kafka

    async def swap(self, detector: Detector) -> None:
        """Judges with another detector from the next request on."""
        self.detector = detector

    def health(self) -> HealthReport:
        """Ready as long as it lives: without the cache it answers from older copies."""
        return HealthReport(
            ready=True,
            problems=tuple(filter(None, [self.profiles.problem])),
            model_version=self.detector.model_version,
            model_problem=self._reload.problem,
            version=fraudstream.__version__,
            role="api",
        )

    def liveness(self) -> LivenessReport:
        """Alive as long as it answers: nothing of it goes on by itself."""
        return LivenessReport(alive=True)

    async def run(self, listener: socket.socket) -> None:
        """Serves until SIGINT or SIGTERM; requests that came before are answered."""
        warm_up(self.detector)
        app = web.Application()
        mount(app, self)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        await web.SockSite(runner, listener, backlog=BACKLOG_CONNECTIONS).start()
        following = asyncio.gather(self._reload.run(), watch_loop(self.metrics.loop_lag))
        told_to_stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
        log.info("answers on http://%s:%d", *listener.getsockname()[:2])
        await told_to_stop.wait()
        following.cancel()
        await drain(app)
        await runner.cleanup()
        await self.profiles.close()
        if self._kafka is not None:
            await self._kafka.stop()


def listen(settings: Settings) -> socket.socket:
    """A socket at WEB_HOST and WEB_PORT; other API processes of this machine may share the port.

    Raises:
        SettingsError: the address cannot be had.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.web_host, settings.web_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as error:
        raise SettingsError(
            f"WEB_HOST={settings.web_host}, WEB_PORT={settings.web_port}: expected an address to listen at, "
            f"got {error.strerror or error}; set another one, or stop what listens there"
        ) from None
    return listener
