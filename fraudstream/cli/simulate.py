"""`fraudstream simulate`: writes a labelled stream, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import click

from fraudstream.cli.output import json_option, print_facts, say, write_json


@click.command()
@click.option("--transactions", type=click.IntRange(min=1), default=100_000, show_default=True, help="Rows in all.")
@click.option("--users", type=click.IntRange(min=1), help="Card holders; by default one for 80 transactions.")
@click.option("--days", type=click.IntRange(min=1), default=60, show_default=True, help="Length of the stream.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Equal seeds, equal streams.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .parquet or .csv file.")
@json_option
def simulate(transactions: int, users: int | None, days: int, seed: int, out: Path, json_file: Path | None) -> None:
    """Writes a labelled stream with devices, places and fraud campaigns."""
    from fraudstream.training.history import write
    from fraudstream.training.simulate import SimulationSpec
    from fraudstream.training.simulate import simulate as play

    history = play(SimulationSpec(transactions=transactions, users=users, days=days, seed=seed))
    write(history, out)
    frauds = history.frauds_by_campaign()
    say(f"{out}: {len(history):,} transactions, {sum(frauds.values()):,} of them fraud")
    print_facts({f"  {campaign}": count for campaign, count in frauds.items()})
    write_json(json_file, {"rows": len(history), "frauds": frauds})
