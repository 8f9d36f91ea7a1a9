"""Stock Faust as its documentation shows it: JSON values, every setting at its default, an agent that does nothing."""

from __future__ import annotations

import os
from typing import Any

import faust

app = faust.App(
    os.environ["APP_ID"],
    broker=[f"kafka://{server}" for server in os.environ["KAFKA_SERVERS"].split(",")],
    value_serializer="json",
)


@app.agent(app.topic(os.environ["TRANSACTIONS_TOPIC"]))
async def pass_through(stream: Any) -> None:
    """Takes every event and drops it."""
    async for _event in stream.events():
        pass
