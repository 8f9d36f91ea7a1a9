"""`fraudstream evaluate`: a model beside its members and the baselines, on a labelled file; figures, and a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraudstream.cli.output import (
    columns_option,
    in_a_directory,
    json_option,
    print_facts,
    print_report,
    print_table,
    progress,
    say,
    write_json,
    write_text,
)
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.training.evaluation import Evaluation, Interval, Method


def _a_week() -> int:
    from fraudstream.training.known_cards import LABEL_DELAY_DAYS

    return LABEL_DELAY_DAYS


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, help="A labelled .parquet or .csv.")
@click.option("--model", type=click.Path(path_type=Path), help="A model directory; by default MODEL_DIR's.")
@click.option("--since", required=True, help="Judge from this time on; earlier rows only fill the profiles.")
@click.option("--until", help="Judge up to this time, such as 2020-06-21 or 2020-06-21T12:00:00Z.")
@click.option(
    "--label-delay",
    type=click.IntRange(min=0),
    default=_a_week,
    metavar="DAYS",
    help="Days until a fraud is known; by default a week. Read by --without-compromised.",
)
@click.option(
    "--without-compromised",
    is_flag=True,
    help="Leave out users whose fraud was known by the judged day: one that is older than the label delay, back to a "
    "week before --since less that delay (the Fraud Detection Handbook's protocol).",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=in_a_directory,
    metavar="FILE",
    help="Write a report for people, one file; it quotes transactions: keep it as you keep the data.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of everything random.")
@columns_option
@json_option
def evaluate(
    source: Path,
    model: Path | None,
    since: str,
    until: str | None,
    label_delay: int,
    without_compromised: bool,
    html: Path | None,
    seed: int,
    columns: dict[str, str],
    json_file: Path | None,
) -> None:
    """Judges a model on a labelled file: ensemble, members and well-known baselines side by side.

    The file is replayed from its start, so that profiles are warm; labels are read to judge, never to score.
    """
    from fraudstream.detector import model_directory
    from fraudstream.training.evaluate import Order, judge_model
    from fraudstream.training.findings import find
    from fraudstream.training.report import html_report

    settings = load_settings(**({"model_dir": model} if model else {}))
    order = Order(
        model=model_directory(settings),
        source=source,
        since=since,
        until=until,
        columns=columns,
        label_delay_days=label_delay,
        without_compromised=without_compromised,
        seed=seed,
        contamination=settings.contamination,
        contamination_by=settings.contamination_by,
        weights=settings.ensemble_weights,
        allowed_lateness_s=settings.allowed_lateness_s,
    )
    judged = judge_model(order, progress, show=print_report)
    found = find(judged, order.seed, order.draws, progress)
    print_evaluation(found)
    if html is not None:
        write_text(html, html_report(order, judged, found))
        say(f"{html}: the report")
    write_json(json_file, found.as_json() | {"data": judged.data.as_json()})


def print_evaluation(found: Evaluation) -> None:
    """The figures for people."""
    print_table(
        ("method", "AUC", "average precision", "caught at 1 % FPR", "card precision", "first of a streak"),
        [_row(name, method) for name, method in found.methods.items()],
    )
    say("In brackets: 95 % of bootstrap draws of users. Card precision: of the 100 most suspicious cards a day.")
    if found.campaigns:
        print_table(
            ("campaign", "instances", "caught", "best baseline", "hours", "its hours", "right reason first, among"),
            [_campaign_row(found, name) for name in found.campaigns],
        )
        share = next(iter(found.campaigns.values())).alert_share
        say(
            f"Caught: an alert on one of an instance's first three frauds; the most suspicious {100 * share:g}% are "
            "alerts. Hours: median from first fraud to first alert."
        )
    print_facts(dict(_facts(found)))


def _campaign_row(found: Evaluation, name: str) -> tuple[str, ...]:
    one, agreement = found.campaigns[name], found.reasons.agreement.get(name)
    reasons = "" if agreement is None else f"{_share(agreement.right_first)}, {_share(agreement.right_among)}"
    if one.best_baseline is None:
        return name, "0", "", "", "", "", reasons
    ensemble, baseline = one.methods["ensemble"], one.methods[one.best_baseline]
    return (
        name,
        f"{one.instances:,}",
        f"{ensemble.caught_within_three:.0%}",
        f"{baseline.caught_within_three:.0%} {one.best_baseline}",
        _hours(ensemble.median_hours),
        _hours(baseline.median_hours),
        reasons,
    )


def _row(name: str, method: Method) -> tuple[str, ...]:
    return (
        name,
        _figure(method.auc, method.intervals["auc"]),
        _figure(method.average_precision, method.intervals["average_precision"]),
        _figure(method.tpr_at_1pct_fpr, method.intervals["tpr_at_1pct_fpr"]),
        f"{method.card_precision_100:.3f}",
        "" if method.streaks is None else f"{method.streaks.first_caught:.1%}",
    )


def _figure(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _hours(value: float | None) -> str:
    return "never" if value is None else f"{value:,.1f}" if value >= 1.0 else f"{value:.2f}"


def _facts(found: Evaluation) -> Iterator[tuple[str, str]]:
    removed = f"; {found.left_out:,} rows of known cards left out" if found.left_out else ""
    removed += f"; {found.duplicates:,} duplicates left out" if found.duplicates else ""
    yield "judged", f"{found.rows:,} transactions of {found.users:,} users, {found.frauds:,} frauds{removed}"
    for name, one in found.differences.items():
        sure = "" if one.interval is None else f" ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"
        yield f"lead in {name}", f"{one.difference:+.3f}{sure} over {one.baseline}, the best baseline by it"
    rate = found.alert_rate
    yield (
        "alert rate",
        f"{rate.rate:.2%} of the rows, asked for {rate.target:.2%}; by week {rate.lowest_relative:.2f} to "
        f"{rate.highest_relative:.2f} times that",
    )
    yield "model", found.model_version
    if found.degraded:
        yield "failed", f"{', '.join(found.degraded)}: left out of the score for some rows, no figures of their own"
    if found.has_seen_judged:
        yield "beware", "the model was trained on part of what is judged; its figures may flatter it"
