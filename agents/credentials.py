"""The Kafka security settings in Faust's own form; every app of this room takes them from here."""

from __future__ import annotations

from typing import Any

import faust

from fraudstream.adapters.kafka_client import tls_context
from fraudstream.settings import Settings


def credentials(settings: Settings) -> Any:
    """What `broker_credentials` takes, None for plain text.

    Raises:
        SettingsError: the CA bundle cannot be read.
    """
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
