"""Verdicts and alerts as Faust topics for agents of one's own; what comes out of them is a `Verdict`, never bytes."""

from __future__ import annotations

from typing import Any

import faust
import msgspec
from faust.exceptions import ValueDecodeError

from fraudstream.verdict import Verdict, decode_verdict


class VerdictSchema(faust.Schema):  # type: ignore[type-arg]
    """Key: the user_id. Value: a `Verdict`; its evidence stays in the message's headers."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> str | None:
        return message.key.decode() if message.key is not None else None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Verdict:
        try:
            return decode_verdict(message.value)
        except (msgspec.DecodeError, TypeError) as error:
            raise ValueDecodeError(
                f"{message.topic}, partition {message.partition}, offset {message.offset}: expected a verdict as "
                f"fraudstream writes it, got another message ({error})"
            ) from None


def verdict_topic(app: faust.App, name: str) -> Any:
    """A topic of verdicts; a worker reads it only where an agent asks for it."""
    return app.topic(name, schema=VerdictSchema())
