"""One row of the audit trail: how a message of the verdicts topic becomes it, and its hash; no database here."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec

from fraudstream.errors import RefusedInput
from fraudstream.evidence import ChainPosition, Evidence, read_headers
from fraudstream.transaction import Identifier

ZERO_HASH = bytes(32)
"""What the first row of a partition holds as the hash of the row before it."""

UNREADABLE = (ValueError, TypeError, OverflowError, AttributeError, struct.error)
"""What `hash_row` raises where a column holds what no sink writes."""

EARLIEST_YEAR, LATEST_YEAR = 2000, 2099
"""Months outside are never made: an event time there is a mistake, and each month is a table."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FORMAT = b"fraudstream audit row 1\n"
_NUMBERS = struct.Struct("<qqqddq")
_LENGTHS = struct.Struct("<8q")
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


class EvidenceRow(NamedTuple):
    """One verdict with its evidence, column by column in the order of the tables.

    Attributes:
        source_partition, source_offset: of the transaction on its own topic.
        event_time: aware, UTC.
        reasons: the verdict's reasons as JSON, the characters as they were sent.
        verdict_json, transaction_json, features: the bytes as they came.
    """

    source_partition: int
    source_offset: int
    transaction_id: str
    user_id: str
    event_time: datetime
    anomaly_score: float
    anomaly_type: str
    flagged: bool
    threshold: float
    model_version: str
    reasons: str
    verdict_json: bytes
    transaction_json: bytes
    features: bytes

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same transaction: its id, of its user."""
        return self.transaction_id, self.user_id


class LinkedRow(NamedTuple):
    """A row in its chain.

    Attributes:
        row: what was judged.
        previous_hash: of the row before it in its source partition.
        row_hash: over `previous_hash` and every column of `row`.
    """

    row: EvidenceRow
    previous_hash: bytes
    row_hash: bytes


COLUMNS = (*EvidenceRow._fields, "previous_hash", "row_hash")
"""Every column of the table of evidence."""


class _Verdict(msgspec.Struct, gc=False):
    """The fields of a verdict that get a column of their own; what no column holds would stop the sink."""

    transaction_id: Identifier
    user_id: Identifier
    event_time: datetime
    anomaly_score: float
    anomaly_type: str
    flagged: bool
    threshold: float
    model_version: str
    reasons: msgspec.Raw
    source_partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    source_offset: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


_decode = msgspec.json.Decoder(_Verdict).decode


def row_of_message(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> EvidenceRow:
    """The row of one message of the verdicts topic.

    Raises:
        RefusedInput: it is no verdict with evidence; says what was expected and what came.
    """
    if value is None:
        raise RefusedInput("empty_message", "message: expected a verdict as JSON, got a message without a value")
    try:
        transaction, features = read_headers(dict(headers))
    except KeyError as missing:
        raise RefusedInput(
            "missing_field", f"headers: expected transaction and features, {missing} is missing"
        ) from None
    try:
        verdict = _decode(value)
        reasons = bytes(verdict.reasons).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedInput(
            "malformed_json", f"message: expected a verdict as JSON, got one that says {error}"
        ) from None
    if verdict.event_time.tzinfo is None or not EARLIEST_YEAR <= verdict.event_time.year <= LATEST_YEAR:
        raise RefusedInput(
            "absurd_time",
            f"event_time: expected a time with an offset from {EARLIEST_YEAR} to {LATEST_YEAR}, "
            f"got {verdict.event_time.isoformat()}",
        )
    texts = (verdict.transaction_id, verdict.user_id, verdict.anomaly_type, verdict.model_version)
    if any(map(_NOT_STORABLE.search, texts)):
        raise RefusedInput("control_character", "message: expected texts without NUL, got one that holds it")
    return EvidenceRow(
        verdict.source_partition,
        verdict.source_offset,
        verdict.transaction_id,
        verdict.user_id,
        verdict.event_time.astimezone(UTC),
        verdict.anomaly_score,
        verdict.anomaly_type,
        verdict.flagged,
        verdict.threshold,
        verdict.model_version,
        reasons,
        value,
        transaction,
        features,
    )


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(since_1970_us: int) -> datetime:
    """The reverse of `microseconds`."""
    return _EPOCH + since_1970_us * _MICROSECOND


def hash_row(row: EvidenceRow, previous_hash: bytes) -> bytes:
    """SHA-256 over the row before it and every column: numbers in fixed places, then lengths, then the bytes.

    Raises:
        one of UNREADABLE: a column holds what no sink writes.
    """
    # Lengths stand before the bytes, so that no byte can move from one column to the next unseen.
    texts = (
        previous_hash,
        row.transaction_id.encode("utf-8", "surrogateescape"),
        row.user_id.encode("utf-8", "surrogateescape"),
        row.anomaly_type.encode("utf-8", "surrogateescape"),
        row.model_version.encode("utf-8", "surrogateescape"),
        row.reasons.encode("utf-8", "surrogateescape"),
        row.verdict_json,
        row.transaction_json,
    )
    numbers = _NUMBERS.pack(
        row.source_partition,
        row.source_offset,
        microseconds(row.event_time),
        row.anomaly_score,
        row.threshold,
        row.flagged,
    )
    return sha256(b"".join((_FORMAT, numbers, _LENGTHS.pack(*map(len, texts)), *texts, row.features))).digest()


def linked_row(columns: Sequence[Any]) -> LinkedRow:
    """A row of a database, its columns in the order of COLUMNS."""
    return LinkedRow(EvidenceRow(*columns[:-2]), columns[-2], columns[-1])


def evidence_of(linked: LinkedRow) -> Evidence:
    """The row as every reader of evidence knows it."""
    row = linked.row
    return Evidence(
        transaction_id=row.transaction_id,
        user_id=row.user_id,
        partition=row.source_partition,
        offset=row.source_offset,
        verdict=row.verdict_json,
        transaction=row.transaction_json,
        features=row.features,
        chain=ChainPosition(row.source_partition, row.source_offset, linked.previous_hash, linked.row_hash),
    )
