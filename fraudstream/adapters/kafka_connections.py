"""A connection that the broker has just cut fails as aiokafka expects it to, whatever event loop runs.

asyncio's loop writes into nothing where a socket is closed; uvloop's raises RuntimeError, until the reader has heard of
it. aiokafka catches only OSError there, so the task that happened to write ends: where it was the one that keeps the
brokers' addresses, everything that waits for these waits for ever, and a worker stands still after a broker's restart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_WRITING = ("send", "_send_sasl_token")


def install() -> None:
    """Makes every aiokafka client of this process see such a connection as broken."""
    for name in _WRITING:
        method = getattr(AIOKafkaConnection, name)
        if not hasattr(method, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _seen_as_broken(method))


def _seen_as_broken(write: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(write)
    def checked(connection: Any, *arguments: Any, **options: Any) -> Any:
        writer = connection._writer
        try:
            return write(connection, *arguments, **options)
        except RuntimeError as error:
            if writer is None or not cast(bool, writer.is_closing()):
                raise
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error

    return checked
