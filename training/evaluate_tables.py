"""Models of several seeds on labelled sets, as Markdown: one set of tables a data set, seeds beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fraudstream.errors import DataFileError
from fraudstream.machine import Machine
from fraudstream.training.baselines import BASELINES
from fraudstream.training.evaluate_sets import LabelledSet
from fraudstream.training.evaluation import (
    ENSEMBLE,
    METHODS,
    Agreement,
    CampaignDetection,
    Evaluation,
    Method,
)
from fraudstream.training.report_tables import DISPLAY_NAMES, MEASURE_NAMES, words

_METHOD_HEAD = (
    "method",
    "AUC",
    "average precision",
    "caught at 1% FPR",
    "card precision 100",
    "first of a streak",
    "frauds in the top 1%",
    "money in the top 1%",
)
_CAMPAIGN_HEAD = (
    "campaign",
    "frauds",
    "instances",
    "alert within three",
    "best baseline",
    "hours",
    "its hours",
    "average precision",
    "best baseline's",
    "right reason first, among",
)
_CAMPAIGN_NOTE = (
    "Alerts are the most suspicious 1% of the judged transactions. An instance is one user robbed once; hours are the "
    "median from its first fraud to its first alert, over those with one. A campaign's average precision counts its "
    "frauds among all normal transactions. Right reasons: of the campaign's flagged frauds, see "
    "`training/right_reasons.py`."
)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found on one data set, by the seed of the model; the rows are the same for all."""

    data_set: LabelledSet
    by_seed: Mapping[int, Evaluation]
    train_s: Mapping[int, float]


def page(measured: Sequence[Measured], date: datetime, machine: Machine) -> str:
    """All tables, and where they come from."""
    versions = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
    facts = (
        f"Measured on {date:%Y-%m-%d} by `make evaluate-models` on {machine.processor}, {machine.cores} cores, "
        f"{machine.memory_gib} GiB, {machine.kernel}; Python {machine.python}, {versions}."
    )
    return "\n\n".join([facts, *(part for one in measured for part in _of_one(one))])


def put_between_marks(text: str, tables: str) -> str:
    """The text with the tables in the place of whatever is between its two marks.

    Raises:
        DataFileError: it lacks the marks, or has them the wrong way round.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataFileError(f"expected a line {BEGIN} and after it a line {END}, one of them is missing; add both")
    return f"{before}{begin}\n{tables}\n{end}{after}"


def _of_one(measured: Measured) -> Iterator[str]:
    found = next(iter(measured.by_seed.values()))
    one = measured.data_set
    left_out = f", without {found.left_out:,} of cards known to be compromised" if found.left_out else ""
    yield f"### {one.title}"
    yield (
        f"Learnt from until {one.learnt_until}; judged: {found.rows:,} transactions of {found.users:,} users from "
        f"{one.since} {f'until {one.until}' if one.until else 'on'}{left_out}; {found.frauds:,} frauds. Seeds of the "
        f"model: {' / '.join(map(str, measured.by_seed))}. Baselines do not depend on it."
    )
    yield _table(_METHOD_HEAD, (_method_row(measured, name) for name in METHODS if name in found.methods))
    yield "\n".join(f"- {fact}" for fact in _facts(measured))
    if found.campaigns:
        yield _table(_CAMPAIGN_HEAD, (_campaign_row(measured, name) for name in found.campaigns))
        yield _CAMPAIGN_NOTE


def _method_row(measured: Measured, name: str) -> tuple[str, ...]:
    def cell(of: Callable[[Method], str]) -> str:
        return _joined(measured, lambda found: of(found.methods[name]) if name in found.methods else "failed")

    return (
        DISPLAY_NAMES[name],
        cell(lambda one: f"{one.auc:.3f}"),
        cell(lambda one: f"{one.average_precision:.3f}"),
        cell(lambda one: f"{one.tpr_at_1pct_fpr:.3f}"),
        cell(lambda one: f"{one.card_precision_100:.3f}"),
        cell(lambda one: f"{one.streaks.first_caught:.0%}" if one.streaks else "–"),
        cell(lambda one: f"{one.budgets['1pct'].frauds_caught:,} ({one.budgets['1pct'].frauds_share:.0%})"),
        cell(lambda one: f"{one.budgets['1pct'].money_saved:,.0f} ({one.budgets['1pct'].money_share:.0%})"),
    )


def _facts(measured: Measured) -> Iterator[str]:
    for measure, name in MEASURE_NAMES.items():
        yield f"Lead in {name}: {_joined(measured, lambda found: _lead(found, measure))}."  # noqa: B023
    yield (
        "Alert rate by week as a multiple of the share asked for: "
        f"{_joined(measured, _weekly)}; over all: "
        f"{_joined(measured, lambda found: f'{found.alert_rate.rate:.2%}')}."
    )
    yield f"Training took {' / '.join(f'{seconds:.0f} s' for seconds in measured.train_s.values())}."


def _lead(found: Evaluation, measure: str) -> str:
    one = found.differences[measure]
    sure = "" if one.interval is None else f" ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"
    return f"{one.difference:+.3f}{sure} over {DISPLAY_NAMES[one.baseline]}"


def _weekly(found: Evaluation) -> str:
    return f"{found.alert_rate.lowest_relative:.2f} to {found.alert_rate.highest_relative:.2f}"


def _campaign_row(measured: Measured, name: str) -> tuple[str, ...]:
    def cell(of: Callable[[Evaluation, CampaignDetection], str]) -> str:
        return _joined(measured, lambda found: of(found, found.campaigns[name]))

    return (
        words(name),
        cell(lambda _, one: f"{one.frauds:,}"),
        cell(lambda _, one: f"{one.instances:,}"),
        cell(lambda _, one: _within_three(one, ENSEMBLE)),
        cell(lambda _, one: _within_three(one, one.best_baseline)),
        cell(lambda _, one: _hours(one, ENSEMBLE)),
        cell(lambda _, one: _hours(one, one.best_baseline)),
        cell(lambda found, _: _precision(found, name, (ENSEMBLE,))),
        cell(lambda found, _: _precision(found, name, BASELINES)),
        cell(lambda found, _: _right(found.reasons.agreement.get(name))),
    )


def _within_three(one: CampaignDetection, method: str | None) -> str:
    if method not in one.methods:
        return "–"
    share = f"{one.methods[method].caught_within_three:.0%}"
    return share if method == ENSEMBLE else f"{share} {DISPLAY_NAMES[method]}"


def _hours(one: CampaignDetection, method: str | None) -> str:
    if method not in one.methods:
        return "–"
    hours = one.methods[method].median_hours
    return "never" if hours is None else f"{hours:.2f}"


def _precision(found: Evaluation, campaign: str, methods: Sequence[str]) -> str:
    """The best average precision of the methods, with the name of the best of several."""
    figures = found.groups["campaign"][campaign].methods
    best = max(methods, key=lambda name: figures[name].average_precision or 0.0)
    value = f"{figures[best].average_precision or 0.0:.3f}"
    return value if len(methods) == 1 else f"{value} {DISPLAY_NAMES[best]}"


def _right(one: Agreement | None) -> str:
    if one is None or one.right_first is None or one.right_among is None:
        return "–"
    return f"{one.right_first:.0%}, {one.right_among:.0%}"


def _joined(measured: Measured, of: Callable[[Evaluation], str]) -> str:
    """What all seeds say, one after the other; once where they agree."""
    cells = [of(found) for found in measured.by_seed.values()]
    return cells[0] if len(set(cells)) == 1 else " / ".join(cells)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
