"""Walks over a whole audit trail and says what does not hold; whatever keeps the trail gives it as a snapshot."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fraudstream.adapters.audit_chain import Head
from fraudstream.adapters.audit_dropped import DroppedRun
from fraudstream.adapters.audit_rows import UNREADABLE, ZERO_HASH, LinkedRow, hash_row

FINDINGS_KEPT = 1_000
"""A trail that is broken everywhere must not fill the memory; all findings are counted."""

Advance = Callable[[int], None]
"""Called with how many rows are done, counted from the start."""


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
    """Walks over all rows once, in the order of partition and offset, and holds nothing but where it is.

    Args:
        heads: as the trail says them.
        dropped: what retention says that it dropped.
        kept: heads as they were earlier, kept where nobody who writes the trail can write.
    """

    def __init__(self, heads: Iterable[Head], dropped: Iterable[DroppedRun], kept: Iterable[Head] = ()) -> None:
        self.report = Report()
        self._kept = {head.source_partition: head for head in kept if head.rows}
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
        for head in self._kept.values():
            self.report.add(
                head.source_partition,
                head.last_offset,
                None,
                "expected the row that the kept heads end with, it is not there: the newest rows of that time were "
                "removed, or the heads are of another trail",
            )
        return self.report

    def _check(self, linked: LinkedRow) -> None:
        row, previous_hash, row_hash = linked
        self.report.rows += 1
        self._rows += 1
        try:
            expected = hash_row(row, previous_hash)
        except UNREADABLE as error:
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
        self._hold_kept(row.source_offset, row.source_offset, row_hash)
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
            self._hold_kept(run.first_offset, run.last_offset, run.last_hash)
            self._ends = {run.last_hash}
            self._last_offset = run.last_offset

    def _hold_kept(self, first_offset: int, last_offset: int, last_hash: bytes) -> None:
        """Holds a row, or a run of dropped ones, to the kept head that ends there."""
        head = self._kept.get(self._partition) if self._partition is not None else None
        if head is None or not first_offset <= head.last_offset <= last_offset:
            return
        del self._kept[head.source_partition]
        # Inside a run no hash is left to compare.
        if head.last_offset == last_offset and head.head_hash != last_hash:
            self._add(
                last_offset, None, f"expected the kept head's hash {head.head_hash.hex()}, got another: written anew"
            )

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


class Snapshot(Protocol):
    """A whole trail as it was at one moment."""

    async def heads(self) -> list[Head]: ...
    async def dropped(self) -> list[DroppedRun]: ...
    def rows(self) -> AsyncIterator[list[LinkedRow]]:
        """In the order of partition and offset."""
        ...

    async def unregistered(self, rows: Sequence[LinkedRow]) -> list[LinkedRow]:
        """Those that a search by transaction would not find."""
        ...

    async def registered(self) -> int | None:
        """How many rows a search by transaction could find; None where rows themselves are searched."""
        ...


async def verify_snapshot(snapshot: Snapshot, advance: Advance | None, kept: Iterable[Head]) -> Report:
    """Checks a whole trail, also against heads that were kept elsewhere."""
    check = ChainCheck(await snapshot.heads(), await snapshot.dropped(), kept)
    async for rows in snapshot.rows():
        check.take(rows)
        for linked in await snapshot.unregistered(rows):
            row = linked.row
            check.report.add(
                row.source_partition,
                row.source_offset,
                row.transaction_id,
                "expected its transaction among the identities, with its event time: it is not there",
            )
        if advance is not None:
            advance(check.report.rows)
    report = check.finish()
    registered = await snapshot.registered()
    if registered is not None and registered != report.rows:
        report.add(None, None, None, f"expected as many identities as rows, {report.rows}, got {registered}")
    return report
