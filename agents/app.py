"""The app that `faust -A fraudstream.agents.app worker` runs, from environment variables alone.

With KAFKA_SERVERS it joins that broker; without, an embedded broker serves on loopback, for trying out.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import uvloop

from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.errors import FraudstreamError
from fraudstream.settings import load_settings
from fraudstream.topics import declared_topics

if TYPE_CHECKING:
    from fraudstream.agents.build import FraudApp

uvloop.install()  # before anything makes a loop


def _create() -> FraudApp:
    settings = load_settings()
    from fraudstream.agents.build import create_app  # brings torch: wrong settings are told before it is loaded

    if settings.kafka_servers is not None:
        return create_app(settings, settings.kafka_servers)
    from fraudstream.adapters.embedded_broker import EmbeddedBroker

    broker = EmbeddedBroker()
    bootstrap = broker.start()
    for topic in declared_topics(settings):
        broker.create_topic(topic.name, topic.partitions)
    sys.stderr.write(f"no KAFKA_SERVERS: embedded broker on {bootstrap}, in memory only, for trying out\n")
    app = create_app(settings, bootstrap, embedded=True)
    app.embedded_broker = broker
    return app


try:
    app = _create()
except FraudstreamError as error:
    stop_process(str(error), EXIT_SETTINGS)
