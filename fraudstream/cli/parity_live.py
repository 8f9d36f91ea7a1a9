"""The live path of `fraudstream parity`: a broker, a real worker, and what it wrote down of each transaction."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fraudstream.cli.output import Advance
from fraudstream.errors import BrokerError
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import declared_topics

if TYPE_CHECKING:
    from fraudstream.worker_process import WorkerProcess

IN_FLIGHT = 2_000
"""The embedded broker keeps 5 MiB of a partition: so few verdicts always fit, even if all go to one."""
SEND_ROWS = 500
RECEIVE_WAIT_S = 0.2
SILENT_AFTER_S = 60.0
APP = "fraudstream.agents.recording"


class LiveRow(msgspec.Struct, frozen=True, gc=False):
    """The part of a verdict that is compared, and its place in the stream."""

    transaction_id: str
    user_id: str
    anomaly_score: float
    source_partition: int
    source_offset: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What one path made of the transactions.

    Attributes:
        transactions: (user_id, transaction_id, how often the pair came before) -> row of the arrays.
        features: (rows, features) float32.
        scores: (rows,) anomaly scores as they stand in the verdicts.
    """

    transactions: dict[tuple[str, str, int], int]
    features: Any
    scores: Any


def run_live(messages: Sequence[tuple[bytes, bytes]], advance: Advance) -> Judged:
    """Streams the messages through a real worker.

    Raises:
        BrokerError: the broker does not answer.
        FraudstreamError: the worker ended, or does not judge.
    """
    from fraudstream.worker_process import WorkerProcess

    with tempfile.TemporaryDirectory(prefix="fraudstream-parity-") as name, _broker() as settings:
        directory = Path(name)
        environment = {
            "KAFKA_SERVERS": str(settings.kafka_servers),
            "RECORD_DIR": name,
            **{field.upper(): str(getattr(settings, field)) for field in _own_names("")},
        }
        with WorkerProcess(environment, directory, APP) as worker:
            worker.wait_until_ready()
            scores = asyncio.run(_stream(settings, messages, worker, advance))
        return _recorded(directory, scores)


@contextmanager
def _broker() -> Iterator[Settings]:
    """Settings with topics that nobody else uses, on KAFKA_SERVERS or on an embedded broker."""
    from fraudstream.adapters.embedded_broker import EmbeddedBroker
    from fraudstream.adapters.kafka_topics import create_topics

    settings = load_settings(**_own_names(f"parity-{uuid.uuid4().hex[:8]}"))
    if settings.kafka_servers is not None:
        asyncio.run(create_topics(settings, settings.kafka_servers))
        yield settings
        return
    with EmbeddedBroker() as broker:
        for topic in declared_topics(settings):
            broker.create_topic(topic.name, topic.partitions)
        yield settings.model_copy(update={"kafka_servers": broker.bootstrap, "kafka_security_protocol": "PLAINTEXT"})


def _own_names(prefix: str) -> dict[str, str]:
    topics = ("transactions", "verdicts", "alerts", "dead_letters")
    return {"app_id": prefix, **{f"{topic}_topic": f"{prefix}-{topic}" for topic in topics}}


async def _stream(
    settings: Settings, messages: Sequence[tuple[bytes, bytes]], worker: WorkerProcess, advance: Advance
) -> dict[tuple[int, int], float]:
    """Sends in step with the verdicts; returns the score by source partition and offset, as read from the topic."""
    from fraudstream.adapters.transaction_stream import transaction_stream

    scores: dict[tuple[int, int], float] = {}
    refused = sent = 0
    decode = msgspec.json.Decoder(LiveRow).decode
    async with transaction_stream(settings, str(settings.kafka_servers)) as stream:
        heard_s = asyncio.get_running_loop().time()
        while len(scores) + refused < len(messages):
            if sent < len(messages) and sent - len(scores) - refused <= IN_FLIGHT - SEND_ROWS:
                await stream.send(messages[sent : sent + SEND_ROWS])
                sent = min(sent + SEND_ROWS, len(messages))
            received = await stream.receive(RECEIVE_WAIT_S)
            for topic, value in received:
                if topic == settings.verdicts_topic:
                    row = decode(value)
                    scores[row.source_partition, row.source_offset] = row.anomaly_score
                refused += topic == settings.dead_letters_topic
            advance(len(scores) + refused)
            now_s = asyncio.get_running_loop().time()
            heard_s = now_s if received else heard_s
            worker.check()
            if now_s - heard_s > SILENT_AFTER_S:
                raise BrokerError(
                    f"expected {len(messages)} verdicts or dead letters, got {len(scores) + refused} and then nothing "
                    f"for {SILENT_AFTER_S:.0f} s; the worker's last lines:\n{worker.tail()}"
                )
    return scores


def _recorded(directory: Path, scores: dict[tuple[int, int], float]) -> Judged:
    """What the worker wrote down, by transaction; a row that was judged twice counts once, the last time."""
    from fraudstream.agents import record_files

    lines = (directory / record_files.VERDICTS).read_bytes().splitlines()
    features = np.fromfile(directory / record_files.FEATURES, np.float32).reshape(-1, len(FEATURE_NAMES))
    decode = msgspec.json.Decoder(LiveRow).decode
    places: dict[tuple[int, int], tuple[int, LiveRow]] = {}
    for at, line in enumerate(lines):
        row = decode(line)
        places[row.source_partition, row.source_offset] = (at, row)
    in_order = sorted(places)
    rows = [places[place] for place in in_order]
    return Judged(
        number_repeats((row.user_id, row.transaction_id) for _, row in rows),
        features[[at for at, _ in rows]],
        # From the topic and not from the record: what a reader sees is what is compared.
        np.array([scores.get(place, np.nan) for place in in_order]),
    )


def number_repeats(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str, int], int]:
    """Row of each transaction; a pair that comes again, a duplicate, is told apart by how often it came before.

    A user's transactions keep their order on every path, so the same number means the same message.
    """
    seen: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str, int], int] = {}
    for row, pair in enumerate(pairs):
        before = seen.get(pair, 0)
        seen[pair] = before + 1
        rows[*pair, before] = row
    return rows
