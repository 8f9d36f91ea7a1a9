"""The report of an evaluation: one HTML file that a risk manager can read, with nothing from outside in it."""

from __future__ import annotations

from html import escape

import numpy as np

from fraudstream.score.ensemble import MEMBERS
from fraudstream.training import report_tables as tables
from fraudstream.training.evaluate import Judged, Order
from fraudstream.training.evaluation import ENSEMBLE, AlertRate, Evaluation
from fraudstream.training.metrics import CARDS_A_DAY, Ranking
from fraudstream.training.report_plots import Axis, Bars, Line, Point, chart, count_axis, share_axis
from fraudstream.training.report_style import STYLE
from fraudstream.training.stories import costliest_misses, loudest_false_alerts

CURVE_POINTS = 250
HISTOGRAM_BINS = 40
BLUE, RED, GREY, ORANGE = "#1d4ed8", "#c2410c", "#94a3b8", "#b45309"
MEMBER_COLOURS = dict(zip(MEMBERS, ("#0e7490", "#7c3aed", "#15803d"), strict=True))


def html_report(order: Order, judged: Judged, found: Evaluation) -> str:
    """The whole page."""
    title = f"How well model {found.model_version} finds fraud"
    sections = (
        ("Methods side by side", _methods(judged, found)),
        ("What an alert budget buys", _budgets(found)),
        ("How soon a thief is noticed", _streaks(found)),
        ("Where it finds fraud, and where not", _groups(found)),
        ("Scores and alerts", _scores(judged, found)),
        ("What has changed since training", tables.drift_table(found) + _DRIFT_NOTE),
        ("Reasons given", _reasons(found)),
        ("The costliest misses", _misses(judged, found)),
        ("The loudest false alerts", _false_alerts(judged, found)),
        ("How it was measured", _how(order, judged, found)),
    )
    body = "".join(f"<section><h2>{escape(heading)}</h2>{content}</section>" for heading, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(title)}</h1>{_summary(found)}</header>{body}</main></body></html>\n"
    )


def _summary(found: Evaluation) -> str:
    ensemble = found.methods[ENSEMBLE]
    budget = ensemble.budgets["1pct"]
    sentences = [
        f"Of {found.rows:,} payments by {found.users:,} users from {found.first_event_time:%-d %B %Y} to "
        f"{found.last_event_time:%-d %B %Y}, {found.frauds:,} ({found.frauds / found.rows:.2%}) were fraud.",
        f"At one false alarm in a hundred normal payments, the model finds {ensemble.tpr_at_1pct_fpr:.0%} of the "
        f"frauds; the {budget.alerts:,} most suspicious payments (1%) hold {budget.money_share:.0%} of the stolen "
        "money.",
        *(tables.lead_sentence(measure, one) for measure, one in found.differences.items()),
    ]
    notes = []
    if found.has_seen_judged:
        notes.append("Beware: the model was trained on part of what is judged here. The figures may flatter it.")
    if found.degraded:
        notes.append(f"Beware: {', '.join(found.degraded)} failed for some payments and has no figures of its own.")
    warned = "".join(f'<p class="beware">{escape(note)}</p>' for note in notes)
    return f'<p class="summary">{escape(" ".join(sentences))}</p>{warned}'


def _methods(judged: Judged, found: Evaluation) -> str:
    best = found.differences["average_precision"].baseline
    chosen = {ENSEMBLE: BLUE, **MEMBER_COLOURS, best: ORANGE, "amount": GREY}
    lines = [
        Line(
            tables.DISPLAY_NAMES[name],
            colour,
            _precision_recall(judged, name),
            is_dashed=name in (best, "amount"),
            width=3.0 if name == ENSEMBLE else 1.6,
        )
        for name, colour in chosen.items()
        if name in judged.scores
    ]
    curves = chart(
        "Precision and recall: the further up and right, the better",
        share_axis("Share of the frauds that is found"),
        share_axis("Share of the alerts that is fraud"),
        lines,
    )
    note = (
        "<p>Average precision is the mean share of fraud among the alerts, over all frauds; guessing gives "
        f"{found.frauds / found.rows:.3f}. AUC is the chance that a fraud scores higher than a normal payment. The "
        "members are the ensemble's parts, the rest are baselines that never saw a label either. Card precision: of "
        f"the {CARDS_A_DAY} most suspicious cards of a day, how many are compromised; perfect knowledge would give "
        f"{found.card_precision_100_at_best:.1%} here.</p>"
    )
    return tables.methods_table(found) + note + curves


def _budgets(found: Evaluation) -> str:
    one_for_each_share = {budget.share: name for name, budget in found.methods[ENSEMBLE].budgets.items()}
    return "".join(tables.budget_table(found, one_for_each_share[share]) for share in sorted(one_for_each_share)) + (
        "<p>Money is the sum of the amounts of the frauds that were looked at, as the file gives them.</p>"
    )


def _streaks(found: Evaluation) -> str:
    campaigns = tables.campaign_table(found)
    return tables.streak_table(found) + _STREAK_NOTE + (campaigns + _CAMPAIGN_NOTE if campaigns else "")


def _reasons(found: Evaluation) -> str:
    agreement = tables.agreement_table(found)
    return tables.reasons_table(found) + _REASONS_NOTE + (agreement + _AGREEMENT_NOTE if agreement else "")


def _groups(found: Evaluation) -> str:
    order = [kind for kind in ("campaign", "category", "month") if kind in found.groups]
    return "".join(tables.group_table(found, kind, found.groups[kind]) for kind in order) + (
        "<p>A campaign's average precision counts its own frauds among all normal payments. A dash means that there is "
        "no fraud to find.</p>"
    )


def _scores(judged: Judged, found: Evaluation) -> str:
    scores, is_fraud = judged.scores[ENSEMBLE], judged.is_fraud[judged.rows]
    edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
    normal, fraud = (np.histogram(scores[chosen], edges)[0] for chosen in (~is_fraud, is_fraud))
    ticks = [(at / 5, f"{at / 5:g}") for at in range(6)]
    counts = count_axis("Payments (logarithmic)", int(normal.max()))
    at = found.alert_rate.threshold
    histogram = chart(
        "Scores of normal payments and of frauds",
        Axis("Anomaly score", 0.0, 1.0, ticks),
        counts,
        [
            *(
                Bars(name, colour, list(zip(edges[:-1].tolist(), edges[1:].tolist(), height.tolist(), strict=True)))
                for name, colour, height in (("normal", GREY, normal), ("fraud", RED, fraud))
            ),
            Line(
                f"{'common ' if found.alert_rate.own_thresholds else ''}threshold: {at:g}",
                BLUE,
                [(at, counts.low), (at, counts.high)],
                is_dashed=True,
            ),
        ],
    )
    return histogram + _SCORE_NOTE + _calibration(found) + _alert_rate(found)


def _calibration(found: Evaluation) -> str:
    ticks = [(0.001, "0.1%"), (0.01, "1%"), (0.1, "10%"), (0.5, "50%")]
    line = [(1.0 - score, max(share, 0.0001)) for score, share in found.calibration]
    axes = [
        Axis(label, 0.0005, 0.7, ticks, is_log=True)
        for label in ("Share expected above a score", "Share observed above it")
    ]
    return (
        chart(
            "Calibration: does a score mean what it says?",
            axes[0],
            axes[1],
            [
                Line("as promised", GREY, [(0.001, 0.001), (0.5, 0.5)], is_dashed=True),
                Line("observed", BLUE, line),
            ],
        )
        + _CALIBRATION_NOTE
    )


def _alert_rate(found: Evaluation) -> str:
    rate = found.alert_rate
    weeks = len(rate.weeks)
    highest = max(rate.target, *(week.alert_rate for week in rate.weeks)) * 1.1
    every = max(weeks // 5, 1)
    starts = [(at + 0.5, week.start[5:]) for at, week in enumerate(rate.weeks) if at % every == 0]
    bars: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for at, week in enumerate(rate.weeks):
        bars[week.is_whole].append((at + 0.1, at + 0.9, week.alert_rate))
    drawn = chart(
        "Alert rate by week against the share that was asked for",
        Axis("Week beginning (month-day)", 0.0, float(weeks), starts),
        share_axis("Share of payments flagged", highest),
        [
            *(
                Bars(name, BLUE, bars[is_whole], opacity)
                for name, is_whole, opacity in (("flagged", True, 0.75), ("flagged, part of a week", False, 0.3))
                if bars[is_whole]
            ),
            Line(f"asked for: {100 * rate.target:g}%", RED, [(0.0, rate.target), (float(weeks), rate.target)], True),
        ],
    )
    return drawn + (
        f"<p>Above {_threshold_words(rate)} the model flags {rate.rate:.2%} of the payments and with them "
        f"{rate.frauds_caught:,} of {found.frauds:,} frauds. By week that is {rate.lowest_relative:.2f} to "
        f"{rate.highest_relative:.2f} times the share asked for.</p>"
    )


def _threshold_words(rate: AlertRate) -> str:
    own = rate.own_thresholds.values()
    theirs = f" (of {len(own)} categories their own, {min(own):.3f} to {max(own):.3f})" if own else ""
    return f"the threshold of {rate.threshold:g}{theirs}"


def _misses(judged: Judged, found: Evaluation) -> str:
    missed = found.frauds - found.alert_rate.frauds_caught
    lead = (
        f"<p>{missed:,} of {found.frauds:,} frauds stayed below {_threshold_words(found.alert_rate)}. "
        "The largest amounts come first, one for each user.</p>"
        if missed
        else ""
    )
    return lead + tables.story_list(costliest_misses(judged), "No fraud stayed below the threshold.")


def _false_alerts(judged: Judged, found: Evaluation) -> str:
    flagged = sum(found.reasons.leading.values())
    false = flagged - found.alert_rate.frauds_caught
    lead = (
        f"<p>{false:,} of {flagged:,} flagged payments were normal. The highest scores come first, one for each "
        "user.</p>"
    )
    return lead + tables.story_list(loudest_false_alerts(judged), "No normal payment was flagged.")


def _how(order: Order, judged: Judged, found: Evaluation) -> str:
    training = judged.manifest.training
    left_out = (
        f"{found.left_out:,} payments of users whose fraud was known by then (after {order.label_delay_days} days) "
        "are left out."
        if order.without_compromised
        else "No user is left out, also not those whose card was known to be stolen."
    )
    facts = (
        f"File {order.source.name}, replayed from its start; judged from {order.since} "
        f"{'to its end' if order.until is None else f'until {order.until}'}. {left_out}",
        f"Model {found.model_version}: trained on {training.rows:,} payments of {training.source}, "
        f"{training.first_event_time:%Y-%m-%d} to {training.last_event_time:%Y-%m-%d}, seed {training.seed}. "
        "No label was read to train it or to choose its threshold.",
        f"Baselines were fitted to {len(judged.reference):,} payments from before; ECOD, HBOS and Half-Space Trees "
        "read the very inputs that the model reads.",
        f"Intervals: 95% of {order.draws} bootstrap draws of users, the same for all methods (seed {order.seed}).",
        *([f"{found.duplicates:,} rows repeat an earlier one and are left out."] if found.duplicates else []),
        "The report quotes single payments: keep it as you keep the data.",
    )
    return "<ul>" + "".join(f"<li>{escape(fact)}</li>" for fact in facts) + "</ul>"


def _precision_recall(judged: Judged, name: str) -> list[Point]:
    is_fraud = judged.is_fraud[judged.rows]
    one_user = np.zeros(len(is_fraud), np.int32)
    precision, recall = Ranking.of(judged.scores[name], is_fraud, one_user, 1).precision_and_recall()
    # Evenly over the recall: so many thresholds would draw the same pixel.
    places = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], CURVE_POINTS)))
    places = places[places < len(recall)]
    return list(zip(recall[places].tolist(), precision[places].tolist(), strict=True))


_SCORE_NOTE = "<p>A score of 0.97 means that 97% of the payments of the training range were less unusual.</p>"
_CALIBRATION_NOTE = (
    "<p>If scores keep their meaning, 1% of the payments lie above 0.99, 10% above 0.9, and so on: the line observed "
    "stays on the dashed one. Above it, more payments look unusual than in the training range.</p>"
)
_STREAK_NOTE = (
    "<p>A streak is the frauds of one user with less than a week between them. What counts for the customer is the "
    "first one: features that remember a burst only help with the later ones.</p>"
)
_CAMPAIGN_NOTE = (
    "<p>An instance is one user robbed once. It counts as noticed in time when one of its first three payments is "
    "among the alerts; the time is the median from the first stolen payment to the first alert, over the instances "
    "that were noticed at all.</p>"
)
_AGREEMENT_NOTE = (
    "<p>How each of these campaigns is played is known, and with it the reason an investigator should read first. "
    "A reason that is merely true as well does not count.</p>"
)
_DRIFT_NOTE = (
    "<p>The stability index (population stability index, PSI) compares each input's distribution in the judged "
    "payments with that in a sample from the training range: below 0.1 it is stable, above 0.25 it changed much.</p>"
)
_REASONS_NOTE = (
    "<p>A useful model gives each kind of fraud its own leading reason. One reason for everything would say little.</p>"
)
