"""What every Faust app of this room has in common: no pages of Faust's own, and one way from settings to options."""

from __future__ import annotations

from typing import Any

import faust
from faust.web.base import BlueprintManager

from fraudstream.adapters.kafka_client import tls_context
from fraudstream.agents import kafka_log
from fraudstream.settings import Settings

HEARTBEATS_PER_SESSION = 4
HEARTBEAT_S = 0.5
"""Members hear of a rebalance by their next heartbeat and wait for each other: it is a part of each takeover."""

REQUEST_TIMEOUT_S = 90.0

kafka_log.install()


class PlainApp(faust.App):
    """A Faust app whose only web routes are ours."""

    def _new_web(self) -> Any:
        web = super()._new_web()
        web.blueprints = BlueprintManager([])  # Faust's own pages, the one at / included
        return web


def common_options(settings: Settings, bootstrap: str) -> dict[str, Any]:
    """The options that do not depend on what an app does.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        SettingsError: the CA bundle cannot be read.
    """
    return {
        # Faust would put WEB_PORT, BROKER_URL and others of the environment before what is given here.
        "env": {},
        "broker": [f"kafka://{server.strip()}" for server in bootstrap.split(",")],
        "broker_credentials": _credentials(settings),
        "broker_session_timeout": settings.kafka_session_timeout_s,
        "broker_heartbeat_interval": min(HEARTBEAT_S, settings.kafka_session_timeout_s / HEARTBEATS_PER_SESSION),
        "broker_request_timeout": max(REQUEST_TIMEOUT_S, settings.kafka_session_timeout_s),
        "broker_commit_interval": 0.5,
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": settings.kafka_group_instance_id,
        "datadir": str(settings.data_dir.absolute()),
        "stream_recovery_delay": 0.0,
        "table_standby_replicas": settings.standby_replicas,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_bind": settings.web_host,
        "web_host": settings.web_host,
    }


def _credentials(settings: Settings) -> Any:
    """What `broker_credentials` takes, None for plain text."""
    context = tls_context(settings)
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_servers:
        password = settings.kafka_sasl_password
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=password.get_secret_value() if password else None,
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
