"""The account of what retention drops: runs of neighbours in a chain, so that the chain of the rest still holds."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from fraudstream.adapters.audit_chain import Extension
from fraudstream.adapters.audit_rows import UNREADABLE, LinkedRow, hash_row

_RUN = struct.Struct("<qqqq")


class DroppedRun(NamedTuple):
    """Neighbours in a chain that retention dropped.

    Attributes:
        previous_hash: of the row before the first of them.
        last_hash: `row_hash` of the last of them.
        run_hash: over all that stands here.
    """

    source_partition: int
    first_offset: int
    last_offset: int
    rows: int
    previous_hash: bytes
    last_hash: bytes
    run_hash: bytes

    @classmethod
    def of(
        cls, partition: int, first_offset: int, last_offset: int, rows: int, previous_hash: bytes, last_hash: bytes
    ) -> DroppedRun:
        """A run with its hash."""
        numbers = _RUN.pack(partition, first_offset, last_offset, rows)
        digest = sha256(numbers + previous_hash + last_hash).digest()
        return cls(partition, first_offset, last_offset, rows, previous_hash, last_hash, digest)

    def is_intact(self) -> bool:
        """Whether its hash says what stands in it."""
        try:
            return self.of(*self[:6]) == self
        except UNREADABLE:
            return False


class RunBuilder:
    """Collects what retention drops into runs, row by row in the order of partition and offset.

    Attributes:
        rows: taken so far.
        broken: how many of them have a hash that does not hold.
    """

    def __init__(self) -> None:
        self._runs: list[DroppedRun] = []
        self._current: DroppedRun | None = None
        self.rows = 0
        self.broken = 0
        self.first_broken: LinkedRow | None = None

    def take(self, rows: Iterable[LinkedRow]) -> None:
        """Adds rows that are dropped."""
        for linked in rows:
            row, previous_hash, row_hash = linked
            self.rows += 1
            try:
                holds = hash_row(row, previous_hash) == row_hash
            except UNREADABLE:
                holds = False
            if not holds:
                self.broken += 1
                self.first_broken = self.first_broken or linked
            now = self._current
            if now and now.source_partition == row.source_partition and now.last_hash == previous_hash:
                self._current = now._replace(last_offset=row.source_offset, rows=now.rows + 1, last_hash=row_hash)
                continue
            self._close()
            offset = row.source_offset
            self._current = DroppedRun(row.source_partition, offset, offset, 1, previous_hash, row_hash, b"")

    def runs(self, earlier: Iterable[DroppedRun]) -> list[DroppedRun]:
        """All runs, those of earlier retentions among them; neighbours are one."""
        self._close()
        joined: list[DroppedRun] = []
        for run in sorted([*earlier, *self._runs], key=lambda run: (run.source_partition, run.first_offset)):
            last = joined[-1] if joined else None
            # A run that was tampered with stays as it is, for verification to find.
            if last and _follows(run, last) and last.is_intact() and run.is_intact():
                joined[-1] = DroppedRun.of(
                    run.source_partition,
                    last.first_offset,
                    run.last_offset,
                    last.rows + run.rows,
                    last.previous_hash,
                    run.last_hash,
                )
            else:
                joined.append(run)
        return joined

    def _close(self) -> None:
        if self._current is not None:
            self._runs.append(DroppedRun.of(*self._current[:6]))
            self._current = None


def _follows(run: DroppedRun, last: DroppedRun) -> bool:
    return last.source_partition == run.source_partition and last.last_hash == run.previous_hash


def without_dropped(found: Extension, dropped: Iterable[DroppedRun]) -> Extension:
    """The same, where rows that retention dropped in the meantime count as there already."""
    runs = list(dropped)
    left = [
        row
        for row in found.unexplained
        if not any(
            run.source_partition == row.source_partition and run.first_offset <= row.source_offset <= run.last_offset
            for run in runs
        )
    ]
    gone = len(found.unexplained) - len(left)
    return replace(found, unexplained=left, redelivered=found.redelivered + gone)
