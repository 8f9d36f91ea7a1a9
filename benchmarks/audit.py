"""How fast the audit sink stores: `python -m benchmarks.audit [--rows 300000] [--rate 0] [--json FILE]`.

A real broker, a real PostgreSQL with every commit on the disk, and the sink as users start it. With --rate the verdicts
come at that rate while the sink runs, without they wait as a backlog. At the end the whole chain is verified. Ends with
0 when the target is reached and nothing is missing or broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.broker import running_broker
from fraudstream.adapters.audit_store import AuditStore, open_store
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import Settings, load_settings
from tests.audit_rows import message
from tests.servers.postgres import PostgresServer
from tests.worker import Worker

TARGET_ROWS_PER_SECOND = 5_000
TRANSACTION_ROWS = 1_000
POLL_S = 0.1
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        seconds: from the first to the last row in the database.
        most_behind: verdicts that were sent and not stored, at worst, where they came at a rate.
        sink_cpu_us_per_row: of the sink's process.
    """

    rows: int
    stored: int
    broken: int
    seconds: float
    rows_per_second: float
    most_behind: int
    sink_cpu_us_per_row: float
    verify_rows_per_second: float


def main() -> int:
    """Measures once and prints the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000, help="verdicts (default 300000)")
    parser.add_argument("--rate", type=int, default=0, help="verdicts a second while the sink runs; 0: a backlog")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the result for machines")
    options = parser.parse_args()
    with running_broker() as broker, PostgresServer() as postgres, tempfile.TemporaryDirectory() as directory:
        own = f"audit-{uuid.uuid4().hex[:8]}"
        settings = load_settings(
            kafka_servers=broker.bootstrap,
            postgres_url=postgres.url(),
            app_id=own,
            **{f"{name}_topic": f"{own}-{name}" for name in ("transactions", "verdicts", "alerts", "dead_letters")},
        )
        result = asyncio.run(_measure(settings, Path(directory), options.rows, options.rate))
    for name, value in asdict(result).items():
        print(f"{name:24} {value:,.1f}" if isinstance(value, float) else f"{name:24} {value:,}")
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    wanted = min(options.rate or TARGET_ROWS_PER_SECOND, TARGET_ROWS_PER_SECOND)
    reached = result.rows_per_second >= 0.98 * wanted and result.stored == result.rows and not result.broken
    print("reached" if reached else f"NOT reached: expected {wanted:,} rows/s, none missing, none broken")
    return 0 if reached else 1


async def _measure(settings: Settings, directory: Path, rows: int, rate: int) -> Result:
    await create_topics(settings, str(settings.kafka_servers))
    async with open_store(settings) as store:
        await store.migrate()
        if not rate:
            await asyncio.to_thread(_produce, settings, rows, rate)
        with Worker(settings, directory, "sink", app="fraudstream.agents.audit") as sink:
            await sink.ready()
            sending = asyncio.create_task(asyncio.to_thread(_produce, settings, rows, rate)) if rate else None
            seconds, first, most_behind = await _wait(store, sink, rows, rate)
            if sending:
                await sending
            assert sink.stop() == 0, sink.tail()
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        started_s = time.perf_counter()
        report = await store.verify()
        verify_s = time.perf_counter() - started_s
    return Result(
        rows=rows,
        stored=report.rows,
        broken=report.broken,
        seconds=seconds,
        rows_per_second=(rows - first) / seconds,
        most_behind=most_behind,
        sink_cpu_us_per_row=(cpu.ru_utime + cpu.ru_stime) / rows * 1e6,
        verify_rows_per_second=report.rows / verify_s,
    )


async def _wait(store: AuditStore, sink: Worker, rows: int, rate: int) -> tuple[float, int, int]:
    """Seconds from the first rows to the last, how many came before the clock ran, and the most that waited."""
    first, began_s, most_behind, heard_s, before = 0, 0.0, 0, time.perf_counter(), 0
    while True:
        stored, now_s = sum(head.rows for head in await store.heads()), time.perf_counter()
        if stored and not began_s:
            first, began_s = stored, now_s
        if stored != before:
            before, heard_s = stored, now_s
        if rate and began_s:
            most_behind = max(most_behind, min(rows, int(first + (now_s - began_s) * rate)) - stored)
        if stored >= rows:
            return now_s - began_s, first, most_behind
        assert sink.exit_code() is None, sink.tail()
        assert now_s - heard_s < PATIENCE_S, f"nothing is stored any more, {stored} of {rows}:\n{sink.tail()}"
        await asyncio.sleep(POLL_S)


def _produce(settings: Settings, rows: int, rate: int) -> None:
    """Sends verdicts in transactions, as workers do."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_servers or "",
            "transactional.id": settings.app_id,
            "linger.ms": 5,
            "queue.buffering.max.messages": 2 * TRANSACTION_ROWS,
        }
    )
    producer.init_transactions(30)
    started_s = time.perf_counter()
    for start in range(0, rows, TRANSACTION_ROWS):
        if rate:
            time.sleep(max(0.0, started_s + start / rate - time.perf_counter()))
        producer.begin_transaction()
        for number in range(start, min(start + TRANSACTION_ROWS, rows)):
            partition = number % settings.topic_partitions
            value, headers = message(number, partition)
            producer.produce(settings.verdicts_topic, value, b"u", partition, headers=[*headers])
            producer.poll(0)
        producer.commit_transaction(60)


if __name__ == "__main__":
    sys.exit(main())
