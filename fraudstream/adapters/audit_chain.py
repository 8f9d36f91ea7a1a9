"""The evidence chain: how rows are linked, and how a changed, removed or inserted one is found; no database here.

In each source partition, in the order of source offsets, every row holds the hash of the row before it. A head, kept
apart, holds how many rows there are and the hash of the last. What retention dropped is remembered as runs.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

from fraudstream.adapters.audit_rows import ZERO_HASH, EvidenceRow, LinkedRow, hash_row

FINDINGS_KEPT = 1_000
"""A trail that is broken everywhere must not fill the memory; all findings are counted."""

_RUN = struct.Struct("<qqqq")
_UNREADABLE = (ValueError, TypeError, OverflowError, AttributeError, struct.error)


class Head(NamedTuple):
    """Where the chain of a source partition ends.

    Attributes:
        rows: linked so far, dropped ones counted.
        last_offset: source offset of the last row, -1 where there is none.
        head_hash: `row_hash` of the last row, 32 zero bytes where there is none.
    """

    source_partition: int
    rows: int = 0
    last_offset: int = -1
    head_hash: bytes = ZERO_HASH


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
        except _UNREADABLE:
            return False


@dataclass(slots=True)
class Extension:
    """What follows from rows that are to be appended.

    Attributes:
        linked: rows that are new, in their chains.
        heads: of the partitions that grow, as they will be.
        redelivered: rows that are there already.
        duplicates: later verdicts on transactions that are there already.
        unexplained: rows that lie before the end of their chain and are not in it.
    """

    linked: list[LinkedRow] = field(default_factory=list)
    heads: dict[int, Head] = field(default_factory=dict)
    redelivered: int = 0
    duplicates: int = 0
    unexplained: list[EvidenceRow] = field(default_factory=list)


def extend(heads: Mapping[int, Head], rows: Iterable[EvidenceRow], known: Iterable[tuple[str, str]]) -> Extension:
    """Links rows behind the heads of their partitions.

    Args:
        heads: of every partition of the rows.
        rows: in the order of source offsets within a partition.
        known: identities of those rows that are stored already.
    """
    found, ends, seen = Extension(), dict(heads), set(known)
    for row in rows:
        head = ends[row.source_partition]
        if row.identity in seen:
            if row.source_offset <= head.last_offset:
                found.redelivered += 1
            else:
                found.duplicates += 1
            continue
        if row.source_offset <= head.last_offset:
            found.unexplained.append(row)
            continue
        seen.add(row.identity)
        row_hash = hash_row(row, head.head_hash)
        found.linked.append(LinkedRow(row, head.head_hash, row_hash))
        grown = Head(row.source_partition, head.rows + 1, row.source_offset, row_hash)
        ends[row.source_partition] = found.heads[row.source_partition] = grown
    return found


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a chain does not hold.

    Attributes:
        offset: source offset, None where it is about a whole partition.
        problem: what was expected and what came.
    """

    partition: int | None
    offset: int | None
    transaction_id: str | None
    problem: str

    def __str__(self) -> str:
        place = f"partition {self.partition}" if self.partition is not None else "the trail"
        at = f" offset {self.offset}" if self.offset is not None else ""
        which = f" ({self.transaction_id})" if self.transaction_id is not None else ""
        return f"{place}{at}{which}: {self.problem}"


@dataclass(slots=True)
class Report:
    """What a verification found.

    Attributes:
        rows: that were read.
        dropped: rows that retention dropped, by its own account.
        broken: how many places do not hold.
        findings: the first of them.
    """

    rows: int = 0
    dropped: int = 0
    broken: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, partition: int | None, offset: int | None, transaction_id: str | None, problem: str) -> None:
        """Notes a place that does not hold."""
        self.broken += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(Finding(partition, offset, transaction_id, problem))


class ChainCheck:
    """Walks over all rows once, in the order of partition and offset, and holds nothing but where it is."""

    def __init__(self, heads: Iterable[Head], dropped: Iterable[DroppedRun]) -> None:
        self.report = Report()
        self._heads = {head.source_partition: head for head in heads}
        self._dropped: dict[int, deque[DroppedRun]] = {}
        for run in sorted(dropped, key=lambda run: (run.source_partition, run.first_offset)):
            self._dropped.setdefault(run.source_partition, deque()).append(run)
        self._partition: int | None = None
        self._open = set[int](self._heads) | set(self._dropped)
        self._begin(None)

    def _begin(self, partition: int | None) -> None:
        self._partition, self._rows, self._last_offset = partition, 0, -1
        self._ends = {ZERO_HASH}

    def take(self, rows: Sequence[LinkedRow]) -> None:
        """Checks the next rows."""
        for linked in rows:
            if linked.row.source_partition != self._partition:
                self._end_partition()
                self._begin(linked.row.source_partition)
            self._pass_dropped(linked.row.source_offset)
            self._check(linked)

    def finish(self) -> Report:
        """Checks the ends of all chains."""
        self._end_partition()
        for partition in sorted(self._open):
            self._begin(partition)
            self._end_partition()
        return self.report

    def _check(self, linked: LinkedRow) -> None:
        row, previous_hash, row_hash = linked
        self.report.rows += 1
        self._rows += 1
        try:
            expected = hash_row(row, previous_hash)
        except _UNREADABLE as error:
            expected = b""
            problem = f"expected columns that can be read, got {error}"
        else:
            problem = "expected the columns that its hash was made of, got others: it was changed"
        before = self._last_offset
        if expected != row_hash:
            self._add(row.source_offset, row.transaction_id, problem)
        elif previous_hash not in self._ends:
            self._add(
                row.source_offset,
                row.transaction_id,
                f"expected the hash of the row before it (offset {before}), got another: a row was removed, inserted "
                "or replaced here",
            )
        # Both: where only the stored hash was changed, the next row still holds the true one.
        self._ends = {row_hash, expected}
        self._last_offset = row.source_offset

    def _pass_dropped(self, until_offset: int | None) -> None:
        runs = self._dropped.get(self._partition) if self._partition is not None else None
        while runs and (until_offset is None or runs[0].first_offset < until_offset):
            run = runs.popleft()
            self.report.dropped += run.rows
            self._rows += run.rows
            if not run.is_intact():
                self._add(run.first_offset, None, "expected the account of dropped rows as retention wrote it: changed")
            elif run.previous_hash not in self._ends:
                self._add(
                    run.first_offset, None, "expected the dropped rows to follow the row before them: they do not"
                )
            self._ends = {run.last_hash}
            self._last_offset = run.last_offset

    def _end_partition(self) -> None:
        partition = self._partition
        if partition is None:
            return
        self._pass_dropped(None)
        self._open.discard(partition)
        head = self._heads.get(partition)
        if head is None:
            self._add(None, None, f"expected a head for its {self._rows} rows, there is none")
            return
        if head.rows != self._rows:
            self._add(None, None, f"expected {head.rows} rows by the head, got {self._rows}")
        elif head.head_hash not in self._ends or head.last_offset != self._last_offset:
            self._add(
                None,
                None,
                f"expected the last row at offset {head.last_offset} with the head's hash, got offset "
                f"{self._last_offset}: the newest rows or the head were changed",
            )

    def _add(self, offset: int | None, transaction_id: str | None, problem: str) -> None:
        self.report.add(self._partition, offset, transaction_id, problem)


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
            except _UNREADABLE:
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
