"""The labelled sets that models are measured on: the two files of ../shared/data, and a stream of the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fraudstream.training.history import write
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.training.times import NS_PER_S

DIRECTORY = Path(__file__).resolve().parents[2] / "shared" / "data"
SIMULATED_ROWS, SIMULATED_SEED = 300_000, 11
"""A seed that no design was chosen by."""
SIMULATED_DAYS = 120
"""Long enough for slow drains, which last for weeks, to begin among the judged rows."""
QUICK_ROWS = 12_000
LEARNT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A file, what is learnt from it and what is judged.

    Attributes:
        title: what it is called in tables.
        source: the file.
        learnt_until: a model reads up to this time.
        since: first moment that is judged.
        until: first moment that is not; None: the file's end.
        without_compromised: whether users known to be compromised are left out.
    """

    title: str
    source: Path
    learnt_until: str
    since: str
    until: str | None = None
    without_compromised: bool = False


def known_sets(directory: Path) -> tuple[LabelledSet, ...]:
    """The sets that have files, with the splits that published figures use, whether their files are there or not."""
    return (
        LabelledSet("Sparkov", directory / "sparkov_a.parquet", "2013-06-21T12:13:37Z", "2013-06-21T12:13:37Z"),
        LabelledSet("Handbook", directory / "handbook.parquet", "2018-07-18", "2018-07-25", "2018-08-01", True),
    )


def files_in(directory: Path) -> Iterator[LabelledSet]:
    """The sets whose files are in the directory."""
    return (one for one in known_sets(directory) if one.source.is_file())


def simulated(directory: Path, rows: int) -> LabelledSet:
    """Simulates so many transactions into a file in the directory; the last 40 % of them are judged."""
    history = simulate(SimulationSpec(transactions=rows, seed=SIMULATED_SEED, days=SIMULATED_DAYS))
    source = directory / "simulated.parquet"
    write(history, source)
    border_s = int(history.numbers("timestamp")[int(LEARNT_SHARE * len(history))]) // NS_PER_S
    border = f"{datetime.fromtimestamp(border_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return LabelledSet(
        f"Simulator, {rows:,} rows, {SIMULATED_DAYS} days, seed {SIMULATED_SEED}", source, border, border
    )
