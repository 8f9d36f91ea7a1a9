"""The app that `faust -A fraudstream.agents.app worker` runs, from environment variables alone.

With KAFKA_SERVERS it joins that broker; without, an embedded broker serves on loopback, for trying out.
"""

from __future__ import annotations

import uvloop

from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.agents.start import start_app
from fraudstream.errors import FraudstreamError
from fraudstream.settings import load_settings

uvloop.install()  # before anything makes a loop

try:
    app = start_app(load_settings())
except FraudstreamError as error:
    stop_process(str(error), EXIT_SETTINGS)
