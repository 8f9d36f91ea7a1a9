"""The app that `faust -A fraudstream.agents.app worker` runs, from environment variables alone.

With KAFKA_SERVERS it joins that broker; without, an embedded broker serves on loopback, for trying out.
"""

from __future__ import annotations

import sys

import uvloop

from fraudstream.agents.fatal import EXIT_SETTINGS
from fraudstream.errors import FraudstreamError
from fraudstream.settings import load_settings

uvloop.install()  # before anything makes a loop


def _create():  # type: ignore[no-untyped-def]
    from fraudstream.agents.build import create_app

    settings = load_settings()
    if settings.kafka_servers is not None:
        return create_app(settings, settings.kafka_servers)
    from fraudstream.adapters.embedded_broker import EmbeddedBroker
    from fraudstream.topics import declared_topics

    broker = EmbeddedBroker()
    bootstrap = broker.start()
    for topic in declared_topics(settings):
        broker.create_topic(topic.name, topic.partitions)
    print(f"no KAFKA_SERVERS: embedded broker on {bootstrap}, in memory only, for trying out", file=sys.stderr)
    app = create_app(settings, bootstrap, embedded=True)
    app.embedded_broker = broker  # it lives as long as the app
    return app


try:
    app = _create()
except FraudstreamError as error:
    print(f"fraudstream: {error}", file=sys.stderr)
    raise SystemExit(EXIT_SETTINGS) from None
