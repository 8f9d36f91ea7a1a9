"""`fraudstream backfill`: fills the profiles from the users' own past, so that the first verdicts already know them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraudstream.cli.output import columns_option, json_option, print_report, progress, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.cli.spool import Spool
    from fraudstream.features.engine import FeatureEngine
    from fraudstream.training.backfill import Counts
    from fraudstream.training.history import History


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, help="A .parquet or .csv file.")
@click.option("--until", help="Read up to this time: the moment from which on the transactions topic has them all.")
@columns_option
@json_option
def backfill(source: Path, until: str | None, columns: dict[str, str], json_file: Path | None) -> None:
    """Fills the profiles of a new system from a file of past transactions, as if they had been streamed.

    Do this once, before the first worker starts: workers restore these profiles and then judge what comes. A
    transaction that is in the file and in the topic is recognised as a duplicate only while the profile still holds
    it: name the border with --until. It refuses while a worker is alive, and where profiles are already. Finished
    profiles wait in a temporary file (TMPDIR), at most 8 KB a user.
    """
    from fraudstream.agents.backfill import require_untouched, write_profiles
    from fraudstream.cli.spool import Spool
    from fraudstream.detector import load_detector
    from fraudstream.training.backfill import Counts
    from fraudstream.training.checks import read_checked

    settings, bootstrap = _broker()
    asyncio.run(require_untouched(settings, bootstrap))
    detector = load_detector(settings)
    history, report = read_checked(source, columns, until=until)
    print_report(report)
    counts = Counts()
    with Spool() as spool:
        _replay(history, detector.engine, spool, counts)
        asyncio.run(require_untouched(settings, bootstrap))  # the replay took its time
        with progress("write", len(spool), "profiles") as advance:
            asyncio.run(write_profiles(settings, bootstrap, spool, advance))
        size_bytes = spool.size_bytes
    used = counts.rows - counts.skipped.total()
    counts.rows += report.left_out
    for refusal in report.refused:
        counts.skipped[refusal.reason] += refusal.rows
    skipped = sum(counts.skipped.values())
    told = ", ".join(f"{reason} {count:,}" for reason, count in counts.skipped.most_common())
    say(f"{source}: profiles of {counts.users:,} users ({size_bytes / 1e6:.1f} MB) from {used:,} transactions")
    say(f"{skipped:,} rows skipped, which a worker would refuse" + (f": {told}" if told else ""))
    write_json(
        json_file,
        {
            "rows": counts.rows,
            "users": counts.users,
            "bytes": size_bytes,
            "skipped": skipped,
            "reasons": dict(counts.skipped.most_common()),
            "model_version": detector.model_version,
        },
    )


def _replay(history: History, engine: FeatureEngine, spool: Spool, counts: Counts) -> None:
    from fraudstream.training.backfill import final_profiles

    with progress("replay", len(history)) as advance:
        for profiles in final_profiles(history, engine, counts, progress=advance):
            spool.add(profiles)


def _broker() -> tuple[Settings, str]:
    settings = load_settings()
    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of the broker whose workers will use the profiles, it is not set; "
            "the embedded broker forgets them with its process"
        )
    return settings, settings.kafka_servers
