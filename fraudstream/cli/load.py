"""`fraudstream load`: produces at a fixed rate to a running system and measures the time from schedule to verdict."""

from __future__ import annotations

import gc
import math
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from fraudstream.cli.live import LiveView
from fraudstream.cli.output import columns_option, json_option, write_json
from fraudstream.cli.stream_client import Outgoing, Pace, StreamClient, Tally
from fraudstream.errors import DataFileError, SettingsError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.adapters.transaction_stream import Isolation
    from fraudstream.training.history import History

PATIENCE_S = 15.0
"""A verdict that has not come when none came for this long is missed."""
USER_PREFIX = "load-"
"""Before every user_id, so that a load never touches the profile of a real user."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load; field names are the keys of its JSON.

    Attributes:
        rate: that was asked for.
        isolation: of the reader of the verdicts.
        per_second: verdicts, from the first transaction to the last verdict.
        latency_ms: from the moment at which a transaction was due, or was sent where so many were in flight that it had
            to wait, to the moment at which its verdict was read.
        missed: transactions without a verdict.
    """

    rate: float
    seconds: float
    isolation: str
    sent: int
    received: int
    missed: int
    repeated: int
    dead_letters: int
    per_second: float
    latency_ms: dict[str, float | None]


@click.command()
@click.option("--rate", required=True, type=click.FloatRange(min=0, min_open=True), help="Transactions per second.")
@click.option("--seconds", required=True, type=click.FloatRange(min=0, min_open=True), help="For so long.")
@click.option(
    "--input", "input_", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet or CSV file to take transactions from (again from its start when it ends); by default simulated.",
)  # fmt: skip
@columns_option
@click.option(
    "--in-flight", type=click.IntRange(min=1), metavar="N",
    help="Sends no more while so many transactions wait for their verdicts: with a high --rate, as fast as the system "
    "takes them. Time is measured from sending then.",
)  # fmt: skip
@click.option(
    "--isolation", type=click.Choice(["read_uncommitted", "read_committed"]), default="read_uncommitted",
    show_default=True, help="How the verdicts are read: as soon as they can be seen, or once they are committed.",
)  # fmt: skip
@click.option("--broker", metavar="HOST:PORT", help="By default KAFKA_SERVERS.")
@json_option
def load(
    rate: float, seconds: float, input_: Path | None,
    columns: dict[str, str], in_flight: int | None, isolation: Isolation, broker: str | None, json_file: Path | None,
) -> None:  # fmt: skip
    """Loads the running system at a fixed rate and measures how long verdicts take.

    A worker must run on the same broker and topics. Transactions are of users of the load's own.
    """
    console = Console()
    try:
        settings = load_settings(**({"kafka_servers": broker} if broker else {}))
        if settings.kafka_servers is None:
            raise SettingsError("KAFKA_SERVERS: expected the running system's broker, got nothing; set it, or --broker")
        import uvloop

        transactions = _transactions(math.ceil(rate * seconds), input_, columns)
        gc.freeze()  # to look through all of them again and again would hold up sending, and be measured as latency
        pace = Pace(rate, in_flight, from_schedule=in_flight is None)
        tally = uvloop.run(_stream(settings, settings.kafka_servers, isolation, transactions, pace, console))
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(INTERRUPTED)
    report = LoadReport(
        rate=rate,
        seconds=seconds,
        isolation=isolation,
        sent=tally.sent,
        received=tally.verdicts,
        missed=tally.sent - tally.verdicts,
        repeated=tally.repeated,
        dead_letters=tally.dead_letters,
        per_second=round(tally.events_per_second, 1),
        latency_ms=tally.latency_ms(50, 95, 99, 99.9),
    )
    _show(report, "the schedule" if pace.from_schedule else "sending", console)
    write_json(json_file, asdict(report))
    sys.exit(1 if report.missed else 0)


def _transactions(count: int, path: Path | None, columns: dict[str, str]) -> list[Outgoing]:
    """So many transactions with ids of this run and users of the load's own."""
    from fraudstream.training.messages import encode_rows

    run = f"load-{secrets.token_hex(4)}-"
    rows = encode_rows(_history(count, path, columns))
    if not rows:
        raise DataFileError(f"{path}: expected at least one transaction, got none")
    return [_renamed(rows[at % len(rows)][1], f"{run}{at}") for at in range(count)]


def _history(count: int, path: Path | None, columns: dict[str, str]) -> History:
    if path is None:
        from fraudstream.training.simulate import SimulationSpec, simulate

        return simulate(SimulationSpec(transactions=count))
    from fraudstream.training.history import read_history

    return read_history(path, columns, rows=count)


def _renamed(value: bytes, transaction_id: str) -> Outgoing:
    fields: dict[str, Any] = msgspec.json.decode(value)
    user_id = USER_PREFIX + fields["user_id"]
    fields |= {"transaction_id": transaction_id, "user_id": user_id}
    return Outgoing(transaction_id, user_id.encode(), msgspec.json.encode(fields))


async def _stream(
    settings: Settings,
    bootstrap: str,
    isolation: Isolation,
    transactions: list[Outgoing],
    pace: Pace,
    console: Console,
) -> Tally:
    from fraudstream.adapters.transaction_stream import transaction_stream

    async with transaction_stream(settings, bootstrap, isolation) as stream:
        with LiveView(console, transactions) as view:
            client = StreamClient(stream, settings, view.update)
            return await client.run(transactions, pace, PATIENCE_S)


def _show(report: LoadReport, since: str, console: Console) -> None:
    latency = ", ".join(
        f"{name} {'unknown' if value is None else f'{value:,.1f} ms'}" for name, value in report.latency_ms.items()
    )
    console.print(
        f"sent {report.sent:,} at {report.rate:g}/s, {report.received:,} verdicts, {report.missed:,} missed, "
        f"{report.repeated:,} repeated, {report.per_second:,.0f} verdicts/s\ntime to verdict, from {since}: {latency}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
