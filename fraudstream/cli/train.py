"""`fraudstream train`: a model from a file of transactions; the recipe is in training/."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from fraudstream.cli.main import EXIT_FAILED, Failure
from fraudstream.cli.output import columns_option, json_option, print_report, progress, say, write_json
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.training.history import History


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, help="A .parquet or .csv file.")
@click.option("--since", help="Learn from this time on; earlier rows only fill the profiles. Default: after a month.")
@click.option("--until", help="Read up to this time, such as 2020-06-21 or 2020-06-21T12:00:00Z.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory of the model.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of everything random.")
@columns_option
@json_option
def train(
    source: Path,
    since: str | None,
    until: str | None,
    out: Path,
    seed: int,
    columns: dict[str, str],
    json_file: Path | None,
) -> None:
    """Fits the three models to a file of transactions and writes them; labels are not read.

    The file is checked first: what it lacks and what is left out is shown. A training that was stopped goes on where
    it was when the same command is given again.
    """
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        from fraudstream.training import recipe

        order = recipe.Order(source, out, columns, since, until, seed, load_settings().allowed_lateness_s)
        trained = recipe.train(order, _OnTerminal())
    except KeyboardInterrupt:
        raise Failure(_stopped(out), EXIT_FAILED) from None
    finally:
        signal.signal(signal.SIGINT, before)
    manifest = trained.manifest
    say(
        f"{out}: model {manifest.model_version}, fitted to {manifest.training.rows:,} "
        f"of {trained.data.used:,} transactions"
    )
    write_json(
        json_file,
        {
            "rows": manifest.training.rows,
            "seconds": trained.seconds,
            "model_version": manifest.model_version,
            "resumed": trained.resumed,
            "data": trained.data.as_json(),
        },
    )


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C, without a word about what it leaves half made.

    In the middle of a compilation that is objects of the compiler, and Python tells each one's end with a traceback.
    """
    sys.unraisablehook = lambda _unraisable: None
    raise KeyboardInterrupt


def first_row(history: History, since: str | None) -> int:
    """The first row to learn from; see `fraudstream.training.split.first_row`."""
    from fraudstream.training import split

    return split.first_row(history, since)


class _OnTerminal:
    """The recipe's progress and findings, for people."""

    progress = staticmethod(progress)
    data = staticmethod(print_report)

    @staticmethod
    def line(text: str) -> None:
        click.echo(text, err=True)


def _stopped(out: Path) -> str:
    from fraudstream.training.unfinished import FOLDER, finished_steps

    finished = finished_steps(out)
    if not finished:
        return "stopped before a step was finished; the same command starts again"
    return f"stopped; the same command goes on after {', '.join(finished)} (kept in {out / FOLDER})"
