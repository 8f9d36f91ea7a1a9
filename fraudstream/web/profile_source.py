"""Where the web view gets profiles from: a worker's own table, the owner's or the cache; the view holds none itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Origin = Literal["table", "owner", "cache"]
"""This worker's table, that of the worker that owns the user, or a copy that some worker left in the cache."""


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """A user's profile and how fresh it is.

    Attributes:
        record: as `fraudstream.state.profile.view` reads it; EMPTY for a user that nobody knows.
        origin: where it comes from.
        age_s: seconds since the worker wrote it down; 0 for a table, and where there is nothing.
    """

    record: bytes
    origin: Origin
    age_s: float


class ProfileSource(Protocol):
    """Finds profiles by user."""

    async def find(self, keys: Sequence[bytes]) -> Sequence[FoundProfile | None]:
        """The profile of each user key (the user_id in UTF-8), in their order.

        None where nobody who would know can be asked: such a user is judged as one who was never seen, and the answer
        is marked degraded. A user who is known to be new has an EMPTY record.

        Raises:
            RefusedInput: with reason `not_owned` where another worker has the user and cannot be asked.
            ConnectionError: the place where profiles are cannot be reached.
        """
        ...
