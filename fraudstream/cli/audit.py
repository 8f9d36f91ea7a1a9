"""`fraudstream audit`: makes the audit trail's tables, checks its chain, shows the chain's ends, drops old months."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from fraudstream.cli.output import json_option, print_table, progress, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.adapters.audit_chain import Head
    from fraudstream.adapters.audit_check import Report
    from fraudstream.adapters.audit_store import AuditStore

SHOWN = 20

Result = TypeVar("Result")


@click.group()
def audit() -> None:
    """Keeps and checks the evidence of every verdict: PostgreSQL at POSTGRES_URL, or a SQLite file in DATA_DIR."""


@audit.command()
@json_option
def migrate(json_file: Path | None) -> None:
    """Makes the tables and roles, or brings them up to date; run as the owner or an administrator."""
    revision = _with_store(load_settings(), lambda store: store.migrate())
    say(f"the audit trail is at revision {revision}")
    write_json(json_file, {"revision": revision})


@audit.command()
@json_option
def heads(json_file: Path | None) -> None:
    """Shows where each partition's chain ends: keep this elsewhere, and nobody can rewrite the trail unseen."""
    found = _with_store(load_settings(), lambda store: store.heads())
    ends = [
        {
            "partition": head.source_partition,
            "rows": head.rows,
            "last_offset": head.last_offset,
            "head_hash": head.head_hash.hex(),
        }
        for head in found
    ]
    print_table(("partition", "rows", "last offset", "hash of the last row"), [tuple(end.values()) for end in ends])
    write_json(json_file, {"read_at": datetime.now(UTC).isoformat(timespec="seconds"), "heads": ends})


def _kept_heads(_context: click.Context, _option: click.Parameter, path: Path | None) -> list[Head]:
    import msgspec

    from fraudstream.adapters.audit_chain import Head

    if path is None:
        return []
    try:
        ends = msgspec.json.decode(path.read_bytes())["heads"]
        return [
            Head(int(end["partition"]), int(end["rows"]), int(end["last_offset"]), bytes.fromhex(end["head_hash"]))
            for end in ends
        ]
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise click.BadParameter(f"expected what `fraudstream audit heads --json` wrote, got {error!r}") from None


@audit.command()
@click.option(
    "--heads",
    "kept",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_kept_heads,
    metavar="FILE",
    help="What `audit heads --json` wrote earlier, kept elsewhere: the trail must still go on from there.",
)
@json_option
@click.pass_context
def verify(context: click.Context, kept: list[Head], json_file: Path | None) -> None:
    """Reads every row and checks the whole chain; exits with 1 if a row was changed, removed or inserted."""

    async def work(store: AuditStore) -> Report:
        total = sum(head.rows for head in await store.heads())
        with progress("verify", total) as advance:
            return await store.verify(advance, kept)

    report = _with_store(load_settings(), work)
    dropped = f", and an account of {report.dropped:,} that retention dropped" if report.dropped else ""
    for finding in report.findings[:SHOWN]:
        say(str(finding))
    if report.broken > SHOWN:
        say(f"... and {report.broken - SHOWN:,} more")
    rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
    say(f"{rows}{dropped}: " + (f"{report.broken:,} broken" if report.broken else "the chain holds"))
    write_json(
        json_file,
        {
            "rows": report.rows,
            "broken": report.broken,
            "dropped": report.dropped,
            "findings": [
                {
                    "partition": finding.partition,
                    "offset": finding.offset,
                    "transaction_id": finding.transaction_id,
                    "problem": finding.problem,
                }
                for finding in report.findings
            ],
        },
    )
    context.exit(1 if report.broken else 0)


@audit.command()
@click.option("--months", type=click.IntRange(min=1), help="Keep so many whole months beside this one.")
@click.option("--accept-broken", is_flag=True, help="Drop also rows whose hash does not hold.")
@json_option
def retain(months: int | None, accept_broken: bool, json_file: Path | None) -> None:
    """Drops months older than AUDIT_RETENTION_MONTHS, as the owner; the chain of the rest stays whole."""
    settings = load_settings()
    kept = months or settings.audit_retention_months
    if kept is None:
        raise SettingsError("AUDIT_RETENTION_MONTHS: expected how many months to keep, it is not set; or give --months")
    first_kept = months_before(datetime.now(UTC).date(), kept)
    with progress("retain", 0) as advance:
        done = _with_store(
            settings, lambda store: store.retain(first_kept, accept_broken=accept_broken, advance=advance)
        )
    what = f"{done.rows:,} rows of {', '.join(done.months)}" if done.months else "nothing"
    say(f"dropped {what}; the trail goes back to {first_kept:%Y-%m}")
    write_json(
        json_file,
        {"months": list(done.months), "rows": done.rows, "broken": done.broken, "first_kept": f"{first_kept:%Y-%m}"},
    )


def months_before(today: date, months: int) -> date:
    """The first day of the month so many before this one."""
    number = today.year * 12 + today.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def _with_store(settings: Settings, work: Callable[[AuditStore], Awaitable[Result]]) -> Result:
    from fraudstream.adapters.audit_store import open_store

    async def run() -> Result:
        async with open_store(settings) as store:
            return await work(store)

    return asyncio.run(run())
