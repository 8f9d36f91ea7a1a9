"""What an evaluation reads: the order, the labelled file, and which of its rows are judged or learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraudstream.decide.policy import Segments
from fraudstream.errors import DataFileError
from fraudstream.score.artifact import TrainingFacts
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import DEFAULT_WEIGHTS
from fraudstream.training.checks import DataReport, read_checked
from fraudstream.training.history import History, Moment, moment_ns
from fraudstream.training.known_cards import LABEL_DELAY_DAYS
from fraudstream.training.metrics import Flags, Ints
from fraudstream.training.times import NS_PER_S

DRAWS = 200
SAMPLE_ROWS = 100_000
FEWEST_SAMPLE_ROWS = 500
SCENARIO = "fraud_scenario"
"""How the Handbook's files name what a history calls `campaign`."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        model: directory of the model.
        source: a labelled .parquet or .csv file; it is read from its start, so that profiles are warm.
        since: first moment that is judged.
        until: first moment that is not; None: the file's end.
        columns: our name -> the file's, where they differ.
        label_delay_days: after how many days a fraud is known.
        without_compromised: leaves out users whose fraud was known by then; see `unknown_until_judged`.
        seed: of the baselines and the bootstrap.
        draws: of the bootstrap.
        contamination, contamination_by, weights, allowed_lateness_s: as the worker's settings.
    """

    model: Path
    source: Path
    since: Moment
    until: Moment = None
    columns: Mapping[str, str] = field(default_factory=dict)
    label_delay_days: int = LABEL_DELAY_DAYS
    without_compromised: bool = False
    seed: int = 1
    draws: int = DRAWS
    contamination: float = 0.10
    contamination_by: Segments = "none"
    weights: MemberWeights = DEFAULT_WEIGHTS
    allowed_lateness_s: int = 3600


def read_labelled(order: Order, vocabulary: NDArray[np.uint32]) -> tuple[History, DataReport]:
    """The whole history up to `until`, with labels, and what its file lacks; fraud_scenario counts as the campaign.

    Args:
        order: what is asked for.
        vocabulary: hashes of the categories that the model knows.

    Raises:
        DataFileError: the file cannot be read, has no labels, or no row that can be used.
    """
    columns = {"campaign": campaign_column(order)} if campaign_column(order) != "campaign" else {}
    history, data = read_checked(order.source, {**order.columns, **columns}, until=order.until, vocabulary=vocabulary)
    if "is_fraud" not in history:
        raise DataFileError(
            f"{order.source}: expected labels in a column is_fraud (0 or 1), got {', '.join(history.columns)}; "
            "name the column with --columns is_fraud=COLUMN"
        )
    return history, data


def campaign_column(order: Order) -> str:
    """The file's name of the campaign: as the order says, the Handbook's where the file has no other."""
    names = _column_names(order.source)
    usual = SCENARIO if SCENARIO in names and "campaign" not in names else "campaign"
    return order.columns.get("campaign", usual)


def _column_names(source: Path) -> list[str]:
    try:
        schema = pq.read_schema(source) if source.suffix == ".parquet" else pa_csv.open_csv(source).schema
    except (OSError, pa.ArrowException):
        return []  # reading the file says what is wrong with it
    return list(schema.names)


def first_judged(order: Order, history: History) -> int:
    """The first row that is judged.

    Raises:
        DataFileError: there is none.
    """
    first = 0 if order.since is None else int(history.numbers("timestamp").searchsorted(moment_ns(order.since)))
    if first == len(history):
        end = f"the file's last is of {_moment(history, -1)}" if len(history) else "the file has none before --until"
        raise DataFileError(
            f"{order.source}: expected transactions to judge from --since {order.since} on, got none: {end}; "
            "choose an earlier --since"
        )
    return first


def check_labels(order: Order, labels: Flags) -> None:
    """Refuses judged rows (n,) among which nothing can be told apart.

    Raises:
        DataFileError: all of them are fraud, or none is.
    """
    frauds = int(labels.sum())
    if 0 < frauds < len(labels):
        return
    came = "no row at all" if not len(labels) else "no fraud" if not frauds else "nothing but frauds"
    todo = "judge a longer range with --since and --until"
    if order.without_compromised:
        todo += ", or leave out --without-compromised"
    raise DataFileError(
        f"{order.source}: expected frauds and others to tell apart from --since {order.since} on, got {came} "
        f"in {len(labels):,} judged rows; {todo}"
    )


def sample_rows(order: Order, training: TrainingFacts, times_s: Ints, first_judged: int) -> Ints:
    """Rows for the baselines to learn from: out of the model's own training range, but never from `since` on.

    Where the file holds little of that range, they come from the later half of what precedes `since`.

    Raises:
        DataFileError: there are too few of them.
    """
    begin = int(np.searchsorted(times_s, _seconds(training.first_event_time)))
    end = int(np.searchsorted(times_s, _seconds(training.last_event_time), side="right"))
    end = min(end, first_judged)
    if end - begin < FEWEST_SAMPLE_ROWS:
        begin, end = first_judged // 2, first_judged
    if end - begin < FEWEST_SAMPLE_ROWS:
        raise DataFileError(
            f"{order.source}: expected at least {2 * FEWEST_SAMPLE_ROWS:,} transactions before --since {order.since}, "
            f"got {first_judged:,}: profiles and baselines need a past; choose a later --since, or a longer file"
        )
    chosen = np.random.default_rng(order.seed).choice(end - begin, min(end - begin, SAMPLE_ROWS), replace=False)
    return begin + np.sort(chosen)


def check_sample(order: Order, sample: Ints) -> None:
    """Refuses a sample without its duplicates that is too small for the baselines.

    Raises:
        DataFileError: there are too few rows.
    """
    if len(sample) < FEWEST_SAMPLE_ROWS:
        raise DataFileError(
            f"{order.source}: expected at least {FEWEST_SAMPLE_ROWS:,} different transactions before --since "
            f"{order.since} to fit the baselines to, got {len(sample):,}, the others repeat an earlier one: profiles "
            "and baselines need a past; choose a later --since, or a file without repetitions"
        )


def overlaps(training: TrainingFacts, first_s: int, last_s: int) -> bool:
    """Whether the training range reaches into the seconds from `first_s` to `last_s`."""
    return _seconds(training.first_event_time) <= last_s and first_s <= _seconds(training.last_event_time)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(history: History, row: int) -> str:
    return f"{datetime.fromtimestamp(int(history.numbers('timestamp')[row]) // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"
