"""Who is in the workers' consumer group, asked of the broker; nothing here joins it."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NoError, for_code

from fraudstream.adapters.kafka_client import collected_log, kafka_arguments, servers_that_answer, unreachable
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings

TIMEOUT_S = 20.0


async def live_members(settings: Settings, bootstrap: str) -> list[str]:
    """Client name and host of every member of the group APP_ID; empty where none is left, or the group is unknown.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.

    Raises:
        BrokerError: the broker cannot be reached, or does not tell.
    """
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
                    responses = await admin.describe_consumer_groups([settings.app_id])
                finally:
                    await admin.close()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(unreachable(bootstrap, said[0] if said else str(error))) from None
    members: list[str] = []
    for code, group, _state, _kind, _protocol, in_group, *_ in (one for reply in responses for one in reply.groups):
        if for_code(code) is not NoError:
            raise BrokerError(f"expected the members of the group {group}, the broker said {for_code(code).__name__}")
        members += [f"{client} on {host.lstrip('/')}" for _member, client, host, *_ in in_group]
    return members
