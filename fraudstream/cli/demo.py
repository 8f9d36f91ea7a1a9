"""`fraudstream demo`: broker, worker and producer from one command, verdicts live, and a summary that is checked."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from fraudstream.cli.demo_report import Report, judge, show
from fraudstream.cli.demo_source import Source, from_file, simulated
from fraudstream.cli.live import LiveView
from fraudstream.cli.output import columns_option, json_option, write_json
from fraudstream.cli.stream_client import Pace, SeenVerdict, StreamClient, Tally, cpu_seconds
from fraudstream.errors import BrokerError
from fraudstream.settings import Settings, load_settings
from fraudstream.worker_process import WorkerProcess

EMBEDDED = "embedded"
MOST_IN_FLIGHT = 5_000
"""Bounded, because the embedded broker forgets what is not read in time; and enough to keep a worker busy."""
PATIENCE_S = 30.0
EMBEDDED_PROFILE_BYTES = 12 * 1024 * 1024
"""The embedded broker keeps 5 MiB of each of 4 partitions, and users do not spread over them quite evenly."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options, as given."""

    transactions: int
    rate: float | None
    input: Path | None
    columns: dict[str, str]
    broker: str | None
    keep: bool
    json_file: Path | None
    model: Path | None


@click.command()
@click.option("--transactions", default=20_000, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Per second; by default as fast as it goes.")
@click.option(
    "--input", "input_", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet or CSV file to stream instead of simulated users; its first fifth teaches model and profiles.",
)  # fmt: skip
@columns_option
@click.option("--broker", metavar="embedded|HOST:PORT", help="By default KAFKA_SERVERS, else the embedded broker.")
@click.option("--keep", is_flag=True, help="Leave worker and broker up at the end, until Ctrl-C.")
@json_option
@click.option(
    "--model", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model to score with, instead of one fitted to --input or the one in the package.",
)  # fmt: skip
def demo(
    transactions: int, rate: float | None, input_: Path | None, columns: dict[str, str],
    broker: str | None, keep: bool, json_file: Path | None, model: Path | None,
) -> None:  # fmt: skip
    """Streams transactions through a real worker and shows its verdicts.

    On a Kafka broker the demo has topics and a consumer group of its own, and deletes the topics at the end.
    """
    options = Options(transactions, rate, input_, columns, broker, keep, json_file, model)
    console = Console()
    for number in (signal.SIGINT, signal.SIGTERM):  # named, as a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        report = _run(options, console, time.perf_counter())
    except KeyboardInterrupt:
        console.print("stopped; worker and temporary files are gone")
        sys.exit(INTERRUPTED)
    sys.exit(0 if report.is_complete else 1)


def _run(options: Options, console: Console, started_s: float) -> Report:
    """Everything between start and exit; whatever was started is stopped when this returns or raises."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fraudstream-demo-")))
        settings = _settings(options)
        bootstrap = _open_topics(settings, stack)
        worker = WorkerProcess(_environment(settings, bootstrap), directory)
        if options.input is None:
            stack.enter_context(worker)  # it imports torch while we simulate
            _say(console, f"worker starting on {_place(settings, bootstrap)}")
            _say(console, f"simulating {options.transactions:,} transactions")
            source = simulated(options.transactions)
        else:
            source = _learn(options.input, options, settings, directory, console)
            _fill_profiles(settings, bootstrap, source, console)
            if source.model_dir is not None:
                settings = settings.model_copy(update={"model_dir": source.model_dir, "model_registry": None})
            worker = WorkerProcess(_environment(settings, bootstrap), directory)
            stack.enter_context(worker)
            _say(console, f"worker starting on {_place(settings, bootstrap)}")
        worker.wait_until_ready()
        _say(console, f"worker ready after {time.perf_counter() - started_s:.1f} s, its log is {worker.log}")
        _say(console, f"watch it live: {worker.url}/")
        report = asyncio.run(_stream(options, settings, bootstrap, source, worker, console, started_s))
        show(report, console)
        write_json(options.json_file, report.as_json())
        if not report.is_complete:
            print(f"the worker's last lines:\n{worker.tail()}", file=sys.stderr)
        elif options.keep:
            _keep(worker, console)
        return report


def _settings(options: Options) -> Settings:
    """Settings with topics of this run's own, so that a demo meets neither real data nor an earlier demo."""
    own = f"demo-{secrets.token_hex(4)}"
    given: dict[str, object] = {
        "app_id": own,
        "transactions_topic": f"{own}-transactions",
        "verdicts_topic": f"{own}-verdicts",
        "alerts_topic": f"{own}-alerts",
        "dead_letters_topic": f"{own}-dead-letters",
        "labels_topic": f"{own}-labels",
        "alert_on_all": False,
    }
    if options.broker is not None:
        given["kafka_servers"] = None if options.broker == EMBEDDED else options.broker
    if options.broker == EMBEDDED:
        given["kafka_security_protocol"] = "PLAINTEXT"
    if options.model is not None:
        given["model_dir"] = options.model.absolute()
    return load_settings(**given)


def _open_topics(settings: Settings, stack: ExitStack) -> str:
    """Makes the run's topics on the embedded broker or on Kafka; returns the broker's address."""
    from fraudstream.topics import declared_topics

    if settings.kafka_servers is None:
        from fraudstream.adapters.embedded_broker import EmbeddedBroker

        broker = stack.enter_context(EmbeddedBroker())
        for topic in declared_topics(settings):
            broker.create_topic(topic.name, topic.partitions)
        return broker.bootstrap
    from fraudstream.adapters.kafka_topics import create_topics

    stack.callback(_delete_topics, settings, settings.kafka_servers)
    asyncio.run(create_topics(settings, settings.kafka_servers))
    return settings.kafka_servers


def _delete_topics(settings: Settings, bootstrap: str) -> None:
    from fraudstream.adapters.kafka_topics import delete_topics

    try:
        asyncio.run(delete_topics(settings, bootstrap))
    except BrokerError as error:
        names = f"{settings.app_id}-*"
        print(f"fraudstream demo: the topics {names} were not deleted, do it by hand: {error}", file=sys.stderr)


def _environment(settings: Settings, bootstrap: str) -> dict[str, str]:
    """The settings that the demo chose, for the worker; all others it reads from the environment itself."""
    environment = {
        "KAFKA_SERVERS": bootstrap,
        "APP_ID": settings.app_id,
        "TRANSACTIONS_TOPIC": settings.transactions_topic,
        "VERDICTS_TOPIC": settings.verdicts_topic,
        "ALERTS_TOPIC": settings.alerts_topic,
        "DEAD_LETTERS_TOPIC": settings.dead_letters_topic,
        "LABELS_TOPIC": settings.labels_topic,
        "ALERT_ON_ALL": "false",
    }
    if settings.kafka_servers is None:
        environment["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
    # Both, as one may come from the environment; and absolute, as the worker has a directory of its own.
    for name, path in (("MODEL_DIR", settings.model_dir), ("MODEL_REGISTRY", settings.model_registry)):
        environment[name] = "" if path is None else str(path.absolute())
    return environment


def _place(settings: Settings, bootstrap: str) -> str:
    return f"Kafka at {bootstrap}" if settings.kafka_servers else f"the embedded broker at {bootstrap}"


def _learn(path: Path, options: Options, settings: Settings, directory: Path, console: Console) -> Source:
    """Reads the file, replays its first fifth and fits a model to it, with progress."""
    from fraudstream.cli.steps import StepsShown

    has_model = settings.model_dir is not None or settings.model_registry is not None
    new_model = None if has_model else directory / "model"
    with StepsShown(console) as steps:
        return from_file(path, options.columns, options.transactions, settings, new_model, steps.tell)


def _fill_profiles(settings: Settings, bootstrap: str, source: Source, console: Console) -> None:
    """Writes the profiles to the changelog, from which the worker restores them when it starts."""
    size = sum(map(len, source.profiles.values()))
    if settings.kafka_servers is None and size > EMBEDDED_PROFILE_BYTES:
        raise BrokerError(
            f"expected profiles of at most {EMBEDDED_PROFILE_BYTES:,} bytes for the embedded broker, which keeps no "
            f"more, got {size:,}: use fewer --transactions, or --broker HOST:PORT"
        )
    from fraudstream.agents.backfill import write_profiles

    asyncio.run(write_profiles(settings, bootstrap, [list(source.profiles.items())]))
    _say(console, f"filled the profiles of {len(source.profiles):,} users ({size / 1e6:.1f} MB)")


async def _stream(
    options: Options, settings: Settings, bootstrap: str, source: Source,
    worker: WorkerProcess, console: Console, started_s: float,
) -> Report:  # fmt: skip
    from fraudstream.adapters.transaction_stream import transaction_stream

    first_verdict_s: list[float] = []
    async with transaction_stream(settings, bootstrap) as stream:
        with LiveView(console, source.transactions) as view:

            def watch(tally: Tally, verdicts: list[SeenVerdict]) -> None:
                worker.check()
                if verdicts and not first_verdict_s:
                    first_verdict_s.append(time.perf_counter() - started_s)
                view.update(tally, verdicts)

            cpu_before = cpu_seconds(worker.pid)
            client = StreamClient(stream, settings, watch)
            tally = await client.run(source.transactions, Pace(options.rate, MOST_IN_FLIGHT), PATIENCE_S)
            cpu_after = cpu_seconds(worker.pid)
    cpu_s = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return judge(tally, source, cpu_s, first_verdict_s[0] if first_verdict_s else None)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _keep(worker: WorkerProcess, console: Console) -> None:
    body = '{"transaction_id":"txn_001","user_id":"user_000123","amount":45.67,"merchant":"Starbucks"}'
    _say(console, f"\nworker and broker stay up until Ctrl-C; its console: {worker.url}/")
    _say(console, "ask it about a transaction:")
    console.print(
        f"  curl -s {worker.url}/predict -H 'Content-Type: application/json' -d '{body}'",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    try:
        while True:
            worker.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping")
