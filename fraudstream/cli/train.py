"""`fraudstream train`: reads a file, replays it, fits the ensemble, writes a model; the recipe is in training/."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraudstream.cli.output import columns_option, json_option, progress, say, write_json
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.training.history import History

DAY_NS = 86_400_000_000_000
WARM_UP_DAYS = 30
"""In the first month every user is new; what that looks like is not what a model should call usual."""
WARM_UP_SHARE = 3
"""Of a short stream no more than one part in so many is given to the warm-up."""


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
    """Fits the three models to a file of transactions and writes them; labels are not read."""
    from fraudstream.score.artifact import save
    from fraudstream.training.default_model import training_facts
    from fraudstream.training.fit import fit
    from fraudstream.training.history import read_history
    from fraudstream.training.replay import replay_features

    settings = load_settings()
    clock = StepClock()
    history = read_history(source, columns, until=until)
    first = first_row(history, since)
    clock.end("read")
    with progress("replay", len(history)) as advance:
        replay = replay_features(history, settings.allowed_lateness_s, progress=lambda done, _: advance(done))
    clock.end("replay")
    ensemble = fit(replay.features[first:], replay.sequences[first:], seed, clock.told)
    facts = training_facts(replay, first, seed, source.name, datetime.now(UTC))
    manifest = save(out, ensemble, facts)
    say(f"{out}: model {manifest.model_version}, fitted to {facts.rows:,} of {len(history):,} transactions")
    write_json(
        json_file,
        {"rows": facts.rows, "seconds": clock.seconds, "model_version": manifest.model_version},
    )


def first_row(history: History, since: str | None) -> int:
    """The first row to learn from; what comes before only fills the profiles."""
    if since is not None:
        return len(history.between(until=since))
    times_ns = history.numbers("timestamp")
    if len(times_ns) == 0:
        return 0
    warm_up_ns = min(WARM_UP_DAYS * DAY_NS, int(times_ns[-1] - times_ns[0]) // WARM_UP_SHARE)
    return int(times_ns.searchsorted(times_ns[0] + warm_up_ns))


class StepClock:
    """Seconds that each step took, and a line for each step as it ends."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._since_s = time.perf_counter()
        self._tell = tell or (lambda line: click.echo(line, err=True))

    def told(self, step: str, done: float) -> None:
        """The fit's progress: a step is over when all of it is done."""
        if done >= 1.0:
            self.end(step)

    def end(self, step: str) -> None:
        """Notes the end of a step."""
        now_s = time.perf_counter()
        self.seconds[step] = round(now_s - self._since_s, 3)
        self._since_s = now_s
        self._tell(f"{step}: {self.seconds[step]:.1f} s")
