"""From settings to an app that runs: on the broker that they name, or on an embedded one where they name none."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fraudstream.settings import Settings
from fraudstream.topics import declared_topics

if TYPE_CHECKING:
    from fraudstream.agents.build import FraudApp
    from fraudstream.agents.sinks import Sink
    from fraudstream.score.scorer import Scorer


def start_app(settings: Settings, *, scorer: Scorer | None = None, sinks: Iterable[Sink] = ()) -> FraudApp:
    """The app of a worker; without KAFKA_SERVERS it brings a broker of its own, in memory.

    Raises:
        FraudstreamError: the settings, the model or the embedded broker cannot be used; says why.
    """
    from fraudstream.agents.build import create_app  # takes a second: wrong settings are told before it is loaded
    from fraudstream.detector import load_detector

    detector = load_detector(settings, scorer)
    if settings.kafka_servers is not None:
        return create_app(settings, settings.kafka_servers, detector=detector, sinks=sinks)
    from fraudstream.adapters.embedded_broker import EmbeddedBroker

    broker = EmbeddedBroker()
    bootstrap = broker.start()
    for topic in declared_topics(settings):
        broker.create_topic(topic.name, topic.partitions)
    sys.stderr.write(f"no KAFKA_SERVERS: embedded broker on {bootstrap}, in memory only, for trying out\n")
    app = create_app(settings, bootstrap, embedded=True, detector=detector, sinks=sinks)
    app.embedded_broker = broker
    return app
