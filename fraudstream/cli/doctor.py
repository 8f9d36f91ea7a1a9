"""`fraudstream doctor`: what the settings are, who answers, and what to do about what does not."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fraudstream.cli.check import Check
from fraudstream.cli.output import json_option, print_table, write_json
from fraudstream.errors import FraudstreamError, SettingsError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.decide.policy import Policy

TIMEOUT_S = 2.0
POSTGRES_PORT = 5432
MIB = 1024 * 1024


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, json_file: Path | None) -> None:
    """Checks settings, servers, topics, model, memory, disk and audit trail; exits with 1 if one fails."""
    masked: dict[str, str] = {}
    try:
        settings = load_settings()
    except SettingsError as error:
        checks = [Check("settings", "failed", str(error), "mend the environment variable that it names")]
    else:
        masked = settings.masked()
        print_table(("setting", "value"), masked.items())
        click.echo()
        checks = list(examine(settings))
    print_table(
        ("check", "status", "found"),
        [(one.name, one.status, one.found + (f"\n-> {one.todo}" if one.todo else "")) for one in checks],
    )
    write_json(json_file, {"checks": [asdict(one) for one in checks], "settings": masked})
    context.exit(1 if any(one.status == "failed" for one in checks) else 0)


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, in the order in which a worker would meet them."""
    yield Check("settings", "ok", "all values are legal")
    kafka = _kafka(settings)
    yield kafka
    yield _topics(settings, reachable=kafka.status == "ok")
    yield _workers(settings, reachable=kafka.status == "ok")
    yield from _model(settings)
    yield _data_dir(settings)
    yield _redis(settings)
    postgres = _postgres(settings)
    yield postgres
    yield _audit(settings, reachable=postgres.status == "ok")


def _kafka(settings: Settings) -> Check:
    if settings.kafka_servers is None:
        from fraudstream.adapters.embedded_broker import EmbeddedBroker

        try:
            with EmbeddedBroker():
                return Check("kafka", "ok", "no KAFKA_SERVERS: the embedded broker serves, for trying out")
        except FraudstreamError as error:
            return Check("kafka", "failed", str(error), "install the extra, or set KAFKA_SERVERS")
    from fraudstream.adapters.kafka_client import servers_that_answer

    named = settings.kafka_servers.split(",")
    try:
        answering = asyncio.run(servers_that_answer(settings.kafka_servers))
    except FraudstreamError as error:
        return Check("kafka", "failed", str(error), "start the broker, or mend KAFKA_SERVERS")
    found = f"{len(answering)} of {len(named)} servers answer: {', '.join(answering)}"
    return Check("kafka", "ok", found, "" if len(answering) == len(named) else "start those that are missing")


def _topics(settings: Settings, *, reachable: bool) -> Check:
    if settings.kafka_servers is None:
        return Check("topics", "skipped", "the embedded broker makes them when the worker starts")
    if not reachable:
        return Check("topics", "skipped", "the broker was not reached")
    from fraudstream.adapters.kafka_topics import check_topics

    try:
        problems = asyncio.run(check_topics(settings, settings.kafka_servers))
    except FraudstreamError as error:
        return Check("topics", "failed", str(error), "mend the connection to Kafka")
    if problems:
        found = "; ".join(f"{one.topic}: {one.wrong}" for one in problems)
        return Check("topics", "failed", found, "\n".join(dict.fromkeys(one.mend for one in problems)))
    return Check("topics", "ok", "all are there, with the right partitions and policies")


def _workers(settings: Settings, *, reachable: bool) -> Check:
    if settings.kafka_servers is None or not reachable:
        return Check("workers", "skipped", "no broker to ask who is in the group")
    from fraudstream.adapters.consumer_group import live_members

    try:
        workers = len(asyncio.run(live_members(settings, settings.kafka_servers)))
    except FraudstreamError as error:
        return Check("workers", "failed", str(error), "mend the connection to Kafka")
    partitions = settings.topic_partitions
    found = f"{workers} in the group {settings.app_id}, for {partitions} partitions"
    if workers > partitions:
        return Check("workers", "ok", f"{found}: {workers - partitions} without work", f"run at most {partitions}")
    if 0 < workers <= settings.standby_replicas:
        return Check("workers", "ok", f"{found}: too few for STANDBY_REPLICAS={settings.standby_replicas}", "run more")
    return Check("workers", "ok", found)


def _model(settings: Settings) -> Iterator[Check]:
    from fraudstream.cli.doctor_capacity import capacity
    from fraudstream.detector import load_detector

    try:
        detector = load_detector(settings)
    except FraudstreamError as error:
        todo = (
            "promote a model with `fraudstream models promote`, or go back with `fraudstream models rollback`"
            if settings.model_registry is not None
            else "train a model with `fraudstream train` and set MODEL_DIR to it"
            if settings.model_dir is None
            else "train a model with `fraudstream train`, or unset MODEL_DIR"
        )
        yield Check("model", "failed", str(error), todo)
        return
    yield Check("model", "ok", f"{detector.model_version}: {_origin(settings)}{_own_thresholds(detector.policy)}")
    yield from capacity(settings, detector)


def _own_thresholds(policy: Policy) -> str:
    if policy.by_category is None:
        return ""
    found = len(policy.by_category) or "none"
    return f"; CONTAMINATION_BY=category: categories frequent enough for a threshold of their own: {found}"


def _origin(settings: Settings) -> str:
    if settings.model_registry is None:
        return str(settings.model_dir or "the one in the package, which has seen simulated users only")
    from fraudstream.score.registry import Registry

    registry = Registry(settings.model_registry)
    promotions, versions = registry.promotions(), registry.entries()
    last = promotions.history[-1:]
    since = "".join(f" on {one.at:%Y-%m-%d %H:%M}Z by {one.by}" for one in last)
    broken = [entry.version for entry in versions if entry.problem]
    unusable = f"; cannot be used: {', '.join(broken)}" if broken else ""
    return f"promoted{since} in {registry.directory}, one of {len(versions)} models{unusable}"


def _data_dir(settings: Settings) -> Check:
    directory = settings.data_dir.absolute()
    # The worker makes what is missing, so the nearest directory that exists decides.
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check("data directory", "ok", f"{directory} can be written")
    except OSError as error:
        return Check(
            "data directory",
            "failed",
            f"{existing}: {error.strerror}",
            "set DATA_DIR to a directory of the worker's own",
        )


def _redis(settings: Settings) -> Check:
    if settings.redis_host is None:
        return Check("redis", "skipped", "no REDIS_HOST: what would be cached there stays in the process")
    from fraudstream.adapters.redis_client import redis_address, redis_facts

    try:
        address = redis_address(settings)
        facts = asyncio.run(redis_facts(settings, TIMEOUT_S))
    except FraudstreamError as error:
        return Check(
            "redis", "failed", str(error), "start Redis, mend REDIS_HOST or REDIS_PASSWORD, or unset REDIS_HOST"
        )
    bound = f"of {facts.most_bytes / MIB:,.0f} MiB, {facts.policy}" if facts.most_bytes else "without a bound"
    found = f"{address} is Redis {facts.version} and uses {facts.used_bytes / MIB:,.0f} MiB {bound}"
    wrong, todo = facts.problem or ("its memory is bounded and old copies make room", "")
    return Check("redis", "ok", f"{found}; {wrong}", todo)


def _postgres(settings: Settings) -> Check:
    if settings.postgres_url is None:
        return Check("postgresql", "skipped", "no POSTGRES_URL: no PostgreSQL is asked for")
    host, port = _host_and_port(settings.postgres_url.get_secret_value(), POSTGRES_PORT)
    return _reached("postgresql", host, port, "start PostgreSQL, mend POSTGRES_URL, or unset it")


def _audit(settings: Settings, *, reachable: bool) -> Check:
    if settings.postgres_url is not None and not reachable:
        return Check("audit trail", "skipped", "PostgreSQL was not reached")
    from fraudstream.adapters.audit_store import SQLITE_FILE

    if settings.postgres_url is None and not (settings.data_dir / SQLITE_FILE).exists():
        return Check("audit trail", "skipped", f"no POSTGRES_URL: an audit sink would make {SQLITE_FILE} in DATA_DIR")
    try:
        rows = asyncio.run(_audited_rows(settings))
    except FraudstreamError as error:
        return Check("audit trail", "failed", str(error), "see docs/audit.md, or unset POSTGRES_URL")
    return Check("audit trail", "ok", f"can be written, holds {rows:,} rows")


async def _audited_rows(settings: Settings) -> int:
    from fraudstream.adapters.audit_store import open_store

    async with open_store(settings) as store:
        await store.check()
        return sum(head.rows for head in await store.heads())


def _host_and_port(url: str, default_port: int) -> tuple[str | None, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or default_port
    except ValueError:  # the address is not told: it may hold a password
        return None, default_port


def _reached(name: str, host: str | None, port: int, todo: str) -> Check:
    if host is None:
        return Check(
            name, "failed", "expected an address with a host and perhaps a port, got none that can be read", todo
        )
    try:
        asyncio.run(_connect(host, port))
    except TimeoutError:
        return Check(name, "failed", f"{host}:{port}: no answer within {TIMEOUT_S:.0f} s", todo)
    except OSError as error:
        return Check(name, "failed", f"{host}:{port}: {error.strerror or error}", todo)
    return Check(name, "ok", f"{host}:{port} takes connections")


async def _connect(host: str, port: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
