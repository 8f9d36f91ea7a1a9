"""Who wrote what, read off a broker's own files: the proof that a worker that was replaced writes nothing more.

Kafka gives each start of a transactional producer a higher epoch and refuses the older ones. So in each partition the
epochs of one producer never fall, and everything that a worker writes there belongs to a transaction. This reads the
heads of the record batches (message format 2), which no client shows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Base offset, length of what follows, leader epoch, magic, checksum, attributes, last offset's delta, first and last
# timestamp, producer id, producer epoch.
_HEAD = struct.Struct(">qiibIhiqqqh")
_BEFORE_LENGTH = 12
_TRANSACTIONAL = 1 << 4


@dataclass(frozen=True, slots=True)
class Batch:
    """The head of a record batch."""

    offset: int
    producer: int
    epoch: int
    is_transactional: bool


def batches(partition: Path) -> Iterator[Batch]:
    """The batches in a partition's directory, in the order of their offsets."""
    for segment in sorted(partition.glob("*.log")):
        content, at = segment.read_bytes(), 0
        while at + _HEAD.size <= len(content):
            offset, length, _, _, _, attributes, _, _, _, producer, epoch = _HEAD.unpack_from(content, at)
            if length <= 0:  # space that the broker reserved
                break
            yield Batch(offset, producer, epoch, bool(attributes & _TRANSACTIONAL))
            at += _BEFORE_LENGTH + length


def breaches(data: Path, topics: tuple[str, ...]) -> list[str]:
    """What was written by a producer that had been replaced, or outside a transaction; in a sentence each.

    Args:
        data: a broker's directory of logs.
        topics: those that only workers write to.
    """
    found: list[str] = []
    for partition in sorted(path for topic in topics for path in data.glob(f"{topic}-[0-9]*")):
        epochs: dict[int, int] = {}
        for batch in batches(partition):
            if not batch.is_transactional:
                found.append(f"{partition.name}: the batch at {batch.offset} belongs to no transaction")
            if batch.epoch < epochs.get(batch.producer, -1):
                found.append(
                    f"{partition.name}: the batch at {batch.offset} is of epoch {batch.epoch} of producer "
                    f"{batch.producer}, behind one of epoch {epochs[batch.producer]}"
                )
            epochs[batch.producer] = batch.epoch
    return found


def takeovers(data: Path, topic: str) -> int:
    """How often a partition of a topic got a new writer."""
    return sum(
        len({(batch.producer, batch.epoch) for batch in batches(partition)}) - 1
        for partition in data.glob(f"{topic}-[0-9]*")
        if any(batches(partition))
    )
