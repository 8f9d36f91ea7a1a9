"""The app that `faust -A fraudstream.agents.audit worker` runs: the audit sink, from environment variables alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from fraudstream.agents.fatal import EXIT_SETTINGS, stop_process
from fraudstream.errors import FraudstreamError, SettingsError
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.agents.audit_app import AuditApp

uvloop.install()  # before anything makes a loop


def _create() -> AuditApp:
    settings = load_settings()
    from fraudstream.agents.audit_app import create_audit_app  # wrong settings are told before anything is loaded

    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of the broker whose verdicts are to be kept, it is not set; a worker "
            "without it brings its own broker and tells its address when it starts"
        )
    return create_audit_app(settings, settings.kafka_servers)


try:
    app = _create()
except FraudstreamError as error:
    stop_process(str(error), EXIT_SETTINGS)
