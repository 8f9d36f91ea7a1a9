"""What Kafka's group coordinator says of this process; one that its group has replaced ends instead of joining again.

aiokafka sends KAFKA_GROUP_INSTANCE_ID when it joins, not with its heartbeats. So a static member whose place another
process has taken hears the same as one that was silent for too long ("unknown member"), and would join again, which
throws the other one out, which joins again, and so on for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from fraudstream.agents.fatal import EXIT_FENCED, stop_process
from fraudstream.settings import Settings


class Membership:
    """Heartbeats of one consumer; noted in the consumer's thread, read from any.

    Attributes:
        problem: the last thing that the group coordinator refused for good, None when all is well.
    """

    def __init__(self, settings: Settings) -> None:
        self._instance_id = settings.kafka_group_instance_id
        self._session_timeout_s = settings.kafka_session_timeout_s
        self._heard_s = time.monotonic()
        self._is_leaving = False
        self._rejoin: Callable[[], object] | None = None
        self.problem: str | None = None

    @property
    def heard_s(self) -> float:
        """When the coordinator last confirmed the membership, on the monotonic clock."""
        return self._heard_s

    def silent_s(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self._heard_s

    def is_silent(self) -> bool:
        """Whether nothing was heard for as long as a session lasts: Kafka is away, or the group is rebalanced."""
        return self.silent_s() > self._session_timeout_s

    def rejoin(self) -> None:
        """Has the consumer join its group again, as in any rebalance; may be called from any thread."""
        if self._rejoin is not None:
            self._rejoin()

    def watch(self, coordinator: Any) -> None:
        """Listens in on a consumer's group coordinator; call it in its thread, before the consumer subscribes."""
        self._rejoin = partial(asyncio.get_running_loop().call_soon_threadsafe, coordinator.request_rejoin)
        heartbeat, join_complete = coordinator._do_heartbeat, coordinator._on_join_complete
        reset, leave, push_error = (
            coordinator.reset_generation,
            coordinator._maybe_leave_group,
            coordinator._push_error_to_user,
        )

        async def noted_heartbeat() -> bool:
            is_confirmed: bool = await heartbeat()
            if is_confirmed:
                self._hear()
            return is_confirmed

        async def noted_join(*arguments: Any) -> None:
            self._hear()
            await join_complete(*arguments)

        async def noted_leave() -> None:
            self._is_leaving = True
            try:
                await leave()
            finally:
                self._is_leaving = False

        def checked_reset() -> None:
            if self._instance_id is not None and not self._is_leaving:
                self._stop(time.monotonic() - self._heard_s)
            reset()

        def noted_error(error: Exception) -> Any:
            self.problem = str(error)
            return push_error(error)

        coordinator._do_heartbeat, coordinator._on_join_complete = noted_heartbeat, noted_join
        coordinator.reset_generation, coordinator._maybe_leave_group = checked_reset, noted_leave
        coordinator._push_error_to_user = noted_error

    def _hear(self) -> None:
        self._heard_s, self.problem = time.monotonic(), None

    def _stop(self, silent_s: float) -> None:
        if silent_s < self._session_timeout_s:
            why = (
                f"another process has joined with KAFKA_GROUP_INSTANCE_ID={self._instance_id} and has its partitions "
                "now; each worker needs one of its own"
            )
        else:
            why = (
                f"it was silent for {silent_s:.0f} s, longer than KAFKA_SESSION_TIMEOUT_S, and its group has given its "
                "partitions away; a restart joins again"
            )
        stop_process(f"stops: {why}; nothing was committed after it", EXIT_FENCED)
