"""What a verdict was made from, as it travels beside the verdict and is kept for an audit; no store and no clock here.

A verdict on its topic carries two headers: the transaction's bytes as they came, and the features as the models saw
them. So whoever keeps verdicts keeps what is needed to explain and to repeat them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

TRANSACTION_HEADER = "transaction"
"""The transaction's JSON, byte for byte as it came."""
FEATURES_HEADER = "features"
"""Little-endian float32, in the order of the catalogue of the verdict's model version."""

_WIRE = np.dtype("<f4")

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where a row stands in the evidence chain of its source partition.

    Attributes:
        previous_hash: of the row before it; 32 zero bytes for the first.
        row_hash: of this row and the one before it.
    """

    partition: int
    offset: int
    previous_hash: bytes
    row_hash: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """One verdict with what it was made from.

    Attributes:
        verdict: JSON, byte for byte as it was sent.
        transaction: JSON, byte for byte as it came.
        features: as one of `features_headers`.
        chain: None where it was not kept in a chain.
    """

    transaction_id: str
    user_id: str
    partition: int
    offset: int
    verdict: bytes
    transaction: bytes
    features: bytes
    chain: ChainPosition | None = None


class EvidenceStore(Protocol):
    """Where evidence is kept: PostgreSQL or SQLite behind one face."""

    async def find(self, transaction_id: str) -> Evidence | None:
        """The evidence of one transaction, None where there is none."""
        ...

    async def search(
        self, *, transaction_id: str | None = None, user_id: str | None = None, limit: int = 50
    ) -> list[Evidence]:
        """The newest evidence of a transaction, of a user, or of all, newest event first."""
        ...

    def of_user(self, user_id: str, until: datetime | None = None) -> AsyncIterator[Evidence]:
        """The user's evidence in the order in which it was judged, up to an event time."""
        ...


def features_headers(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The header of each row of (n, len(CATALOGUE)), as (n, bytes)."""
    return np.ascontiguousarray(features, _WIRE).view(np.uint8)


def features_of(header: bytes) -> NDArray[np.float32]:
    """The reverse of one of `features_headers`, (len(CATALOGUE),).

    Raises:
        ValueError: the bytes are no whole number of values.
    """
    return np.frombuffer(header, _WIRE).astype(np.float32)


def evidence_headers(transaction: bytes, features: bytes) -> list[Header]:
    """The headers of a verdict's message."""
    return [(TRANSACTION_HEADER, transaction), (FEATURES_HEADER, features)]


def read_headers(headers: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """Transaction and features of a verdict's message.

    Raises:
        KeyError: the message has no evidence.
    """
    return headers[TRANSACTION_HEADER], headers[FEATURES_HEADER]
