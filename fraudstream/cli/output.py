"""What commands say: progress on a terminal, plain lines elsewhere, tables for people and JSON for machines.

Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fraudstream.errors import DataFileError

if TYPE_CHECKING:
    from fraudstream.training.checks import DataReport

LINE_EVERY_S = 5.0
"""Without a terminal a line of progress comes this often at most: a log should stay readable."""

Advance = Callable[[int], None]
"""Called with how much is done, counted from the start."""

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """The option `--json FILE`; the command gets `json_file`."""
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        callback=in_a_directory,
        metavar="FILE",
        help="Write the result as JSON as well.",
    )(command)


def columns_option(command: Command) -> Command:
    """The option `--columns ours=theirs,...`; the command gets `columns` as a dict."""
    return click.option(
        "--columns",
        default="",
        callback=_name_pairs,
        metavar="OURS=THEIRS,...",
        help="Column names of the file that differ, such as amount=TransactionAmt.",
    )(command)


def in_a_directory(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """The callback of an option that names a file to write: found out now, not after an hour's work.

    Raises:
        click.BadParameter: its directory does not exist.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"expected a file in a directory that exists, {path.parent} does not")
    return path


def write_json(json_file: Path | None, result: Mapping[str, Any]) -> None:
    """Writes a command's result for machines, if asked for.

    Raises:
        DataFileError: the file cannot be written.
    """
    if json_file is not None:
        write_text(json_file, json.dumps(result, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes what a command was asked to write.

    Raises:
        DataFileError: the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataFileError(
            f"{path}: expected a file that can be written, got {error.strerror}; name another file"
        ) from None


def say(text: str) -> None:
    """One line for people, on stdout."""
    click.echo(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table for people; cells are shown as they are, never read as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        # The last column holds the sentences.
        table.add_column(column, no_wrap=at == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_report(report: DataReport) -> None:
    """What is in a file of transactions, as a table."""
    from fraudstream.training.checks import REPORT_COLUMNS

    print_table(REPORT_COLUMNS, report.lines())


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        say(f"{name:<{width}}  {value}")


@contextmanager
def progress(what: str, total: int, unit: str = "rows") -> Iterator[Advance]:
    """Shows how far a long step is, its rate and the time left.

    Args:
        what: the step, as in "replay".
        total: of units.
        unit: what is counted.
    """
    with _bar(what, total, unit) if sys.stderr.isatty() else _lines(what, total, unit) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    started_s = time.monotonic()
    with shown:
        task = shown.add_task(what, total=total, rate="")
        yield lambda done: shown.update(task, completed=done, rate=_rate(done, time.monotonic() - started_s))


@contextmanager
def _lines(what: str, total: int, unit: str) -> Iterator[Advance]:
    started_s = told_s = time.monotonic()

    def advance(done: int) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s < LINE_EVERY_S or done >= total:
            return
        told_s = now_s
        elapsed_s = now_s - started_s
        left = f", about {(total - done) * elapsed_s / done:.0f} s left" if done else ""
        click.echo(f"{what}: {done:,} of {total:,} {unit}, {_rate(done, elapsed_s)}{left}", err=True)

    yield advance


def _rate(done: int, elapsed_s: float) -> str:
    return f"{done / elapsed_s:,.0f}/s" if elapsed_s else ""


def _name_pairs(_context: click.Context, _option: click.Parameter, text: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, text.split(",")):
        ours, equals, theirs = part.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise click.BadParameter(f"expected OURS=THEIRS[,OURS=THEIRS], such as amount=TransactionAmt, got {part!r}")
        if ours.strip() in pairs:
            raise click.BadParameter(f"expected each of our names once, got {ours.strip()} twice")
        pairs[ours.strip()] = theirs.strip()
    return pairs
