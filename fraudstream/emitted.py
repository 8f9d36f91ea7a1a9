"""Verdicts on their way out: those of a micro-batch as a kernel wrote them, and each of them for who looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.evidence import FEATURES_HEADER, TRANSACTION_HEADER, Header, evidence_headers
from fraudstream.verdict import NORMAL
from fraudstream.verdict_lines import Lines
from fraudstream.wire.record_kernel import RECORD_BYTES, write_batches
from fraudstream.wire.texts import KEY, TEXT_COLUMNS, Texts, gathered

_NAMES = (
    np.frombuffer(TRANSACTION_HEADER.encode(), np.uint8),
    np.frombuffer(FEATURES_HEADER.encode(), np.uint8),
)
_SLACK, _SLACK_BYTES = 2, 16_384
_NO_FEATURES = np.zeros((0, 0), np.uint8)


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """A verdict ready to be sent to the partition that its transaction came from; one for every transaction.

    Attributes:
        transaction: what was judged, as evidence keeps it.
        features: of it, as one of `features_headers`.
        anomaly_type: as in the verdict.
    """

    partition: int
    key: bytes
    value: bytes
    flagged: bool
    transaction: bytes
    features: bytes
    anomaly_type: str = NORMAL

    @property
    def headers(self) -> list[Header]:
        """What the verdict was made from, as headers of its message."""
        return evidence_headers(self.transaction, self.features)


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts(Sequence[Emitted]):
    """The verdicts of a micro-batch; an object of one is made only for who asks for it.

    Attributes:
        texts: keys, and what evidence keeps of the transactions.
        lines: the verdicts.
        features: (n, bytes) as the headers hold them.
        flagged: (n,)
        partitions: (n,)
        types: the anomaly types of those that are flagged, by row.
    """

    texts: Texts
    lines: Lines
    features: NDArray[np.uint8]
    flagged: NDArray[np.bool_]
    partitions: NDArray[np.int64]
    types: dict[int, str]

    def __len__(self) -> int:
        return len(self.partitions)

    @overload
    def __getitem__(self, at: int) -> Emitted: ...
    @overload
    def __getitem__(self, at: slice) -> list[Emitted]: ...
    def __getitem__(self, at: int | slice) -> Emitted | list[Emitted]:
        if isinstance(at, slice):
            return self.some(np.arange(len(self))[at])
        if not -len(self) <= at < len(self):
            raise IndexError(f"expected one of {len(self)} verdicts, got number {at}")
        return self.some(np.array([at % len(self)]))[0]

    def __iter__(self) -> Iterator[Emitted]:
        return iter(self[:])

    def some(self, rows: NDArray[np.int64]) -> list[Emitted]:
        """Those of some rows."""
        texts, lines = self.texts.blob.data, self.lines.blob.data
        places = (self.texts.spans[rows, KEY:].tolist(), self.lines.spans[rows].tolist())
        partitions, flagged = self.partitions[rows].tolist(), self.flagged[rows].tolist()
        return [
            Emitted(
                partition,
                bytes(texts[key[0] : key[1]]),
                bytes(lines[start:end]),
                is_flagged,
                bytes(texts[source[0] : source[1]]),
                self.features[row].tobytes(),
                self.types.get(row, NORMAL),
            )
            for row, (key, source), (start, end), partition, is_flagged in zip(
                rows.tolist(), *places, partitions, flagged, strict=True
            )
        ]

    def only(self, rows: NDArray[np.int64]) -> Verdicts:
        """Those of some rows, to be kept for long: nothing of the others stays with them."""
        lines, line_spans = gathered(self.lines.blob, self.lines.spans[:, None], rows)
        return Verdicts(
            Texts(*gathered(*self.texts, rows)),
            Lines(lines, line_spans[:, 0]),
            self.features[rows],
            self.flagged[rows],
            self.partitions[rows],
            {at: self.types[row] for at, row in enumerate(rows.tolist()) if row in self.types},
        )

    def compact(self) -> Verdicts:
        """The same, to be kept for long: without the texts of others, where those are most of the buffer."""
        if len(self.texts.blob) <= _SLACK_BYTES:
            return self
        own = self.texts.spans[:, KEY:, 1].sum() - self.texts.spans[:, KEY:, 0].sum()
        if len(self.texts.blob) <= _SLACK * own + _SLACK_BYTES:
            return self
        return self.only(np.arange(len(self)))

    def batches(
        self, rows: NDArray[np.int64], header_bytes: int, limit_bytes: int, *, with_evidence: bool
    ) -> list[tuple[int, int, memoryview]]:
        """Some of them as records of Kafka; what follows on each other and goes to one partition shares a batch.

        Args:
            rows: which.
            header_bytes: are left free before the records of each batch.
            limit_bytes: of a batch, unless one verdict alone is larger.
            with_evidence: with the headers that hold the transaction and its features.

        Returns:
            Partition, number of records and bytes of each batch.
        """
        features = self.features if with_evidence else _NO_FEATURES
        # A key may be a part of its transaction: the texts are counted twice.
        size = len(self.lines.blob) + 2 * len(self.texts.blob) + features.size
        out = np.empty(size + len(rows) * (RECORD_BYTES + header_bytes), np.uint8)
        found = np.empty((len(rows), 4), np.int64)
        count = write_batches(
            *self.texts, *self.lines, features, _NAMES, rows, self.partitions, limit_bytes, header_bytes, out, found
        )
        return [(partition, records, out.data[start:end]) for partition, records, start, end in found[:count].tolist()]


NO_VERDICTS = Verdicts(
    Texts(np.zeros(0, np.uint8), np.zeros((0, TEXT_COLUMNS, 2), np.int64)),
    Lines(np.zeros(0, np.uint8), np.zeros((0, 2), np.int64)),
    np.zeros((0, 0), np.uint8),
    np.zeros(0, np.bool_),
    np.zeros(0, np.int64),
    {},
)
