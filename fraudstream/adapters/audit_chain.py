"""The evidence chain: how rows are linked to the ends of their chains; no database and no check here.

In each source partition, in the order of source offsets, every row holds the hash of the row before it. A head, kept
apart, holds how many rows there are and the hash of the last. What retention dropped is remembered as runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fraudstream.adapters.audit_rows import ZERO_HASH, EvidenceRow, LinkedRow, hash_row


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
