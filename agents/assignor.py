"""Faust's assignor, for a static member that comes back at another address."""

from __future__ import annotations

import logging
from typing import Any, cast

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

log = logging.getLogger(__name__)


class MovingAssignor(PartitionAssignor):
    """As Faust's, which ends at an assignment that was made for this member's former address.

    Kafka gives a member with KAFKA_GROUP_INSTANCE_ID that is back in time the assignment it had, made by the group's
    leader with the address of then. The partitions are right; what others know of this address is not, until the next
    time that the group shares its partitions out.
    """

    _told_url: Any = None

    @property
    def _url(self) -> Any:
        return self._told_url or super()._url

    def on_assignment(self, assignment: Any) -> None:
        """Takes the partitions, whatever address they were meant for."""
        own = self._url
        metadata = cast(ClientMetadata, ClientMetadata.loads(self._decompress(assignment.user_data)))
        if metadata.url != str(own):
            log.warning(
                "other workers know this one as %s until partitions move for the next time, and not as %s: keep "
                "WORKER_URL (or host name and WEB_PORT) the same where KAFKA_GROUP_INSTANCE_ID is",
                metadata.url, own,
            )  # fmt: skip
        self._told_url = type(own)(metadata.url)
        try:
            super().on_assignment(assignment)
        finally:
            self._told_url = None
