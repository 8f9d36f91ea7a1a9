"""Who is in the workers' consumer group and what it has read, asked of the broker; nothing here joins it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, NoError, for_code

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, servers_that_answer, unreachable
from fraudstream.errors import BrokerError, SettingsError
from fraudstream.settings import Settings
from fraudstream.topics import judged_topic

TIMEOUT_S = 20.0
RETRY_S = 0.2


async def live_members(settings: Settings, bootstrap: str) -> list[str]:
    """Client name and host of every member of the group APP_ID; empty where none is left, or the group is unknown.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        BrokerError: the broker cannot be reached, or does not tell.
    """
    async with _admin(settings, bootstrap) as admin:
        responses = await _answer(lambda: admin.describe_consumer_groups([settings.app_id]))
    members: list[str] = []
    for code, group, _state, _kind, _protocol, in_group, *_ in (one for reply in responses for one in reply.groups):
        if for_code(code) is not NoError:
            raise BrokerError(f"expected the members of the group {group}, the broker said {for_code(code).__name__}")
        members += [f"{client} on {host.lstrip('/')}" for _member, client, host, *_ in in_group]
    return members


async def require_same_keying(settings: Settings, bootstrap: str) -> None:
    """Checks that this APP_ID has not judged under the other KEYING: its profiles know the offsets of that topic.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        SettingsError: it has.
        BrokerError: the broker cannot be reached, or does not tell.
    """
    other = settings.model_copy(update={"keying": "strict" if settings.keying == "payload" else "payload"})
    async with _admin(settings, bootstrap) as admin:
        try:
            known = await _answer(lambda: admin.list_consumer_group_offsets(settings.app_id))
        except TypeError:  # the client cannot read the answer of the embedded broker, which has no list of them
            return
    if any(tp.topic == judged_topic(other) and at.offset > 0 for tp, at in known.items()):
        raise SettingsError(
            f"KEYING={settings.keying}: expected {other.keying}, under which APP_ID={settings.app_id} has judged "
            f"{judged_topic(other)}: its profiles remember offsets of that topic and would take new transactions for "
            "old ones; go back, or begin anew with another APP_ID (docs/operations.md, Keys)"
        )


async def _answer(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What the group's coordinator says, as soon as there is one: a new cluster begins to choose it when asked."""
    while True:
        try:
            return await ask()
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(RETRY_S)


@asynccontextmanager
async def _admin(settings: Settings, bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    with collected_log() as said:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                admin = AIOKafkaAdminClient(
                    bootstrap_servers=await servers_that_answer(bootstrap),
                    client_id="fraudstream-group",
                    **kafka_arguments(settings),
                )
                try:
                    await admin.start()
                    yield admin
                finally:
                    await admin.close()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
