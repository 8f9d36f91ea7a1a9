"""A history judged as a worker judges the stream, by its bytes: what `fraudstream.training.judge` must be equal to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fraudstream.pipeline import Detector, Outcome, process
from fraudstream.state.profile import EMPTY
from fraudstream.training.history import History
from fraudstream.training.messages import encode_chunks

TOPIC = "file"

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A row of a history as a message; its place in the file is its offset, its own time the broker's."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int
    topic: str = TOPIC
    partition: int = 0


def judge_messages(detector: Detector, history: History, batch: int = 512) -> Iterator[Outcome]:
    """The outcome of each micro-batch, in the history's order; row i counts as source offset i."""
    times_ms = (history.numbers("timestamp") // _NS_PER_MS).tolist()
    profiles: dict[tuple[int, bytes], bytes] = {}
    done = 0
    for messages in encode_chunks(history, batch):
        records = [FileRecord(key, value, at, times_ms[at]) for at, (key, value) in enumerate(messages, start=done)]
        outcome = process(detector, records, lambda partition, key: profiles.get((partition, key), EMPTY))
        profiles.update(outcome.profiles)
        done += len(records)
        yield outcome
