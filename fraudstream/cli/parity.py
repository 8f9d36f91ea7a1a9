"""`fraudstream parity`: the same transactions through worker, replay and training, compared value by value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fraudstream.cli.output import columns_option, json_option, print_table, progress, say, write_json
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.cli.parity_live import Judged
    from fraudstream.training.history import History

REPLAY_BATCH = 333
"""Unlike any batch of a worker, so that a result which depends on the batch cannot pass."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How two paths differ.

    Attributes:
        paths: their names.
        values: how many values differ in a single bit.
        rows: how many transactions only one of them judged.
        largest: difference between two values; infinite where one of them is no number.
        columns: names of what differs.
    """

    paths: str
    values: int
    rows: int
    largest: float
    columns: tuple[str, ...]


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, help="A .parquet or .csv file.")
@click.option("--rows", type=click.IntRange(min=1), default=50_000, show_default=True, help="The earliest so many.")
@columns_option
@json_option
@click.pass_context
def parity(context: click.Context, source: Path, rows: int, columns: dict[str, str], json_file: Path | None) -> None:
    """Compares live, replay and training; exits with 1 if a single value differs.

    Live is a real worker on KAFKA_SERVERS (in topics of this run's own), or on the embedded broker.
    """
    from fraudstream.cli.parity_live import run_live
    from fraudstream.training.history import encode_rows, read_history

    history = read_history(source, columns, rows=rows)
    with progress("live", len(history)) as advance:
        live = run_live(encode_rows(history), advance)
    replayed, trained = _replayed(history), _trained(history)
    differences = [compare("live and replay", live, replayed), compare("replay and training", replayed, trained)]
    differing = sum(one.values + one.rows for one in differences)
    print_table(
        ("compared", "values that differ", "rows on one side only", "largest difference", "where"),
        [(one.paths, one.values, one.rows, one.largest, ", ".join(one.columns)) for one in differences],
    )
    say(f"{len(history):,} transactions, {len(FEATURE_NAMES)} features and the score: "
        + ("not a bit differs" if not differing else f"{differing:,} values or rows differ"))  # fmt: skip
    largest = max(one.largest for one in differences)
    write_json(
        json_file,
        {
            "rows": len(history),
            "features": len(FEATURE_NAMES),
            "max_difference": largest if np.isfinite(largest) else None,
            "differing": differing,
            "compared": {
                one.paths: {"values": one.values, "rows": one.rows, "where": one.columns} for one in differences
            },
        },
    )
    context.exit(1 if differing else 0)


def compare(paths: str, left: Judged, right: Judged) -> Difference:
    """Compares all transactions that both judged; scores only where both have them."""
    common = left.transactions.keys() & right.transactions.keys()
    apart = len(left.transactions.keys() ^ right.transactions.keys())
    one = [left.transactions[key] for key in common]
    other = [right.transactions[key] for key in common]
    names = list(FEATURE_NAMES)
    mine, theirs = left.features[one].astype(np.float64), right.features[other].astype(np.float64)
    if left.scores is not None and right.scores is not None:
        names.append("anomaly_score")
        mine = np.column_stack([mine, left.scores[one]])
        theirs = np.column_stack([theirs, right.scores[other]])
    differs = ~((mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))
    gaps = np.nan_to_num(np.abs(mine[differs] - theirs[differs]), nan=np.inf)
    where = tuple(name for name, any_differs in zip(names, differs.any(axis=0), strict=True) if any_differs)
    return Difference(paths, int(differs.sum()), apart, float(gaps.max(initial=0.0)), where)


def _replayed(history: History) -> Judged:
    from fraudstream.cli.parity_live import Judged, number_repeats
    from fraudstream.detector import load_detector
    from fraudstream.training.judge import judge
    from fraudstream.wire.texts import TRANSACTION_ID, USER_ID

    features: list[Any] = []
    names: list[tuple[str, str]] = []
    scores: list[float] = []
    with progress("replay", len(history)) as advance:
        for done, judged in judge(load_detector(load_settings()), history, batch=REPLAY_BATCH):
            features.append(judged.features)
            names += zip(*map(judged.verdicts.texts.strings, (USER_ID, TRANSACTION_ID)), strict=True)
            scores += judged.verdicts.anomaly.tolist()
            advance(done)
    return Judged(
        number_repeats(names),
        np.concatenate([np.empty((0, len(FEATURE_NAMES)), np.float32), *features]),
        np.array(scores),
    )


def _trained(history: History) -> Judged:
    from fraudstream.cli.parity_live import Judged, number_repeats
    from fraudstream.detector import load_detector
    from fraudstream.training.replay import replay_features

    settings = load_settings()
    with progress("training", len(history)) as advance:
        replay = replay_features(
            history,
            settings.allowed_lateness_s,
            load_detector(settings).engine.reference,
            progress=lambda done, _total: advance(done),
        )
    users, ids = history.table["user_id"].to_pylist(), history.table["transaction_id"].to_pylist()
    return Judged(number_repeats(zip(users, ids, strict=True)), replay.features, None)
