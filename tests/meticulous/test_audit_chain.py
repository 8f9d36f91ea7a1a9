"""The evidence chain against a naive oracle: it holds for exactly the rows that were linked, however they came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.adapters.audit_chain import Head, extend
from fraudstream.adapters.audit_check import ChainCheck, Report
from fraudstream.adapters.audit_dropped import DroppedRun, RunBuilder
from fraudstream.adapters.audit_rows import ZERO_HASH, EvidenceRow, LinkedRow, hash_row, microseconds
from tests.audit_rows import row

PARTITIONS = (0, 1)

deliveries = st.lists(
    st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 12)), max_size=8), min_size=1, max_size=8
)
"""Batches of (partition, number): what comes again and what goes back are among them."""


@dataclass(frozen=True)
class Trail:
    rows: tuple[LinkedRow, ...]
    heads: tuple[Head, ...]
    dropped: tuple[DroppedRun, ...] = ()

    def check(self) -> Report:
        check = ChainCheck(self.heads, self.dropped)
        check.take(sorted(self.rows, key=lambda linked: linked.row[:2]))
        return check.finish()


def naive_trail(batches: list[list[tuple[int, int]]]) -> Trail:
    """Links one by one; the oracle of `extend`."""
    rows: list[LinkedRow] = []
    heads: list[Head] = []
    for partition in PARTITIONS:
        previous_hash, count, last = ZERO_HASH, 0, -1
        for one in (number for batch in batches for where, number in batch if where == partition):
            if one > last:
                new = row(one, partition, transaction_id=f"{partition}-{one}")
                linked = LinkedRow(new, previous_hash, hash_row(new, previous_hash))
                rows.append(linked)
                previous_hash, count, last = linked.row_hash, count + 1, one
        if count:
            heads.append(Head(partition, count, 2 * last, previous_hash))
    return Trail(tuple(rows), tuple(heads))


def in_steps(batches: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """The same deliveries with those that only a sink of another cluster would see left out: never seen, yet before."""
    seen: set[tuple[int, int]] = set()
    ends = dict.fromkeys(PARTITIONS, -1)
    kept: list[list[tuple[int, int]]] = []
    for batch in batches:
        kept.append([])
        for partition, number in batch:
            if number > ends[partition] or (partition, number) in seen:
                seen.add((partition, number))
                ends[partition] = max(ends[partition], number)
                kept[-1].append((partition, number))
    return kept


@settings(deadline=None)
@given(deliveries)
def test_rows_that_come_in_batches_again_and_again_make_the_naive_chain(batches: list[list[tuple[int, int]]]) -> None:
    heads = {partition: Head(partition) for partition in PARTITIONS}
    stored: list[LinkedRow] = []
    delivered = in_steps(batches)
    for batch in delivered:
        rows = [row(number, partition, transaction_id=f"{partition}-{number}") for partition, number in batch]
        found = extend(heads, rows, [linked.row.identity for linked in stored])
        assert not found.unexplained
        assert len(found.linked) + found.redelivered == len(rows)
        stored += found.linked
        heads |= found.heads
    naive = naive_trail(delivered)
    assert sorted(stored) == sorted(naive.rows)
    assert tuple(head for head in heads.values() if head.rows) == naive.heads
    assert naive.check().broken == 0


def changed_somehow(value: Any, draw: st.DataObject) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        at = draw.draw(st.integers(0, len(value) - 1))
        return value[:at] + bytes([value[at] ^ (1 << draw.draw(st.integers(0, 7)))]) + value[at + 1 :]
    if isinstance(value, str):
        at = draw.draw(st.integers(0, len(value) - 1))
        return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    if isinstance(value, int):
        return value ^ (1 << draw.draw(st.integers(0, 40)))
    if isinstance(value, float):
        return value + draw.draw(st.sampled_from([1e-12, 0.5, -1.0]))
    return value + timedelta(microseconds=draw.draw(st.sampled_from([1, -1, 1_000_000])))


def tampered(trail: Trail, draw: st.DataObject) -> Trail:
    """One change of the kind that somebody with write access to the rows, or a bad disk, could make."""
    kinds = ["change", "remove", "insert", "rehash"] + ["head"] * bool(trail.heads) + ["run"] * bool(trail.dropped)
    kind = draw.draw(st.sampled_from(kinds if trail.rows else kinds[4:]))
    rows, at = list(trail.rows), draw.draw(st.integers(0, max(len(trail.rows) - 1, 0)))
    if kind == "head":
        heads, at = list(trail.heads), draw.draw(st.integers(0, len(trail.heads) - 1))
        column = draw.draw(st.integers(0, len(Head._fields) - 1))
        values: list[Any] = list(heads[at])
        values[column] = changed_somehow(values[column], draw)
        heads[at] = Head(*values)
        return replace(trail, heads=tuple(heads))
    if kind == "run":
        runs, at = list(trail.dropped), draw.draw(st.integers(0, len(trail.dropped) - 1))
        values = list[Any](runs[at])
        column = draw.draw(st.integers(0, len(values) - 1))
        values[column] = changed_somehow(values[column], draw)
        runs[at] = DroppedRun(*values)
        return replace(trail, dropped=tuple(runs))
    linked = rows[at]
    if kind == "remove":
        del rows[at]
    elif kind == "insert":
        new = linked.row._replace(source_offset=linked.row.source_offset + 1, transaction_id="inserted")
        previous = draw.draw(st.sampled_from([linked.row_hash, linked.previous_hash, ZERO_HASH]))
        rows.append(LinkedRow(new, previous, hash_row(new, previous)))
    else:
        columns: list[Any] = [*linked.row, linked.previous_hash, linked.row_hash]
        column = draw.draw(st.integers(0, len(columns) - 1 if kind == "change" else len(linked.row) - 1))
        columns[column] = changed_somehow(columns[column], draw)
        new_row, previous, row_hash = EvidenceRow(*columns[:-2]), columns[-2], columns[-1]
        # Whoever changes a row may know how rows are hashed.
        rows[at] = LinkedRow(new_row, previous, hash_row(new_row, previous) if kind == "rehash" else row_hash)
    return replace(trail, rows=tuple(rows))


@settings(deadline=None, max_examples=300)
@given(deliveries.filter(any), st.data())
def test_every_single_change_removal_and_insertion_is_found(
    batches: list[list[tuple[int, int]]], draw: st.DataObject
) -> None:
    trail = naive_trail(batches)
    assert tampered(trail, draw).check().broken > 0


@settings(deadline=None, max_examples=300)
@given(deliveries.filter(any), st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)), st.data())
def test_after_months_were_dropped_twice_the_rest_holds_and_every_change_of_it_is_found(
    batches: list[list[tuple[int, int]]], first: set[int], second: set[int], draw: st.DataObject
) -> None:
    trail = naive_trail(batches)
    for numbers in (first, second):
        builder = RunBuilder()
        gone = [linked for linked in trail.rows if linked.row.source_offset // 2 in numbers]
        builder.take(sorted(gone, key=lambda linked: linked.row[:2]))
        kept = tuple(linked for linked in trail.rows if linked not in gone)
        trail = replace(trail, rows=kept, dropped=tuple(builder.runs(trail.dropped)))
    report = trail.check()
    assert (report.broken, report.rows) == (0, len(trail.rows))
    assert report.rows + report.dropped == sum(head.rows for head in trail.heads)
    # Neighbours are one run: what is kept of the past does not grow with the number of retentions.
    ends = {(run.source_partition, run.last_hash) for run in trail.dropped}
    assert not ends & {(run.source_partition, run.previous_hash) for run in trail.dropped}
    assert tampered(trail, draw).check().broken > 0


def test_the_hash_is_what_the_documentation_says() -> None:
    one = row(7, 3)
    texts = (
        ZERO_HASH, b"t7", b"user_7", b"unusual_amount", b"m-1234567890",
        one.reasons.encode(), one.verdict_json, one.transaction_json,
    )  # fmt: skip
    numbers = b"".join(number.to_bytes(8, "little") for number in (3, 14, microseconds(one.event_time)))
    import struct

    numbers += struct.pack("<dd", one.anomaly_score, one.threshold) + (0).to_bytes(8, "little")
    lengths = b"".join(len(text).to_bytes(8, "little") for text in texts)
    whole = b"fraudstream audit row 1\n" + numbers + lengths + b"".join(texts) + one.features
    assert hash_row(one, ZERO_HASH) == sha256(whole).digest()
