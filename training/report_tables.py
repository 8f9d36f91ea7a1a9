"""The figures of an evaluation as HTML tables and as words; everything that comes from a file is escaped here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

from fraudstream.decide.codes import AMOUNT, subject_of
from fraudstream.features.catalogue import CATALOGUE, MODEL_INPUTS
from fraudstream.training.evaluation import ENSEMBLE, Difference, Evaluation, Group, Interval
from fraudstream.training.stories import Story

DISPLAY_NAMES = {
    ENSEMBLE: "Ensemble",
    "forest": "Isolation Forest (member)",
    "autoencoder": "Autoencoder (member)",
    "lstm": "LSTM (member)",
    "amount": "Amount alone",
    "amount_to_mean_30d": "Amount ÷ user's 30-day mean",
    "sum_24h": "User's sum of 24 hours",
    "isolation_forest_raw": "Isolation Forest on amount and hour",
    "ecod": "ECOD",
    "hbos": "HBOS",
    "half_space_trees": "Half-Space Trees",
}
MEASURE_NAMES = {"average_precision": "average precision", "tpr_at_1pct_fpr": "frauds caught at 1% false alarms"}
_DOCS = {feature.name: feature.doc for feature in CATALOGUE}
_INPUTS = frozenset(feature.name for feature in MODEL_INPUTS)
STABLE_PSI, MOVED_PSI = 0.1, 0.25
DRIFT_ROWS = 12


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    mark_first: bool = False,
    prose: Collection[int] = (),
) -> str:
    """A table that scrolls sideways on a narrow screen; the first cell of a row names it.

    Args:
        caption: stands above.
        head: names of the columns.
        rows: cells as text.
        mark_first: whether the first row stands out.
        prose: columns that hold words and not figures.
    """
    kinds = [" class=prose" if at in prose else "" for at in range(len(head))]
    heading = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>' for cell, kind in zip(head, kinds, strict=True))
    body = "".join(
        f"<tr{' class=lead' if mark_first and at == 0 else ''}>"
        f'<th scope="row">{escape(cells[0])}</th>'
        f"{''.join(f'<td{kind}>{escape(cell)}</td>' for cell, kind in zip(cells[1:], kinds[1:], strict=True))}</tr>"
        for at, cells in enumerate(rows)
    )
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def methods_table(found: Evaluation) -> str:
    """Every method with its intervals."""
    rows = (
        (
            DISPLAY_NAMES[name],
            _figure(method.average_precision, method.intervals["average_precision"]),
            _share(method.tpr_at_1pct_fpr, method.intervals["tpr_at_1pct_fpr"]),
            _figure(method.auc, method.intervals["auc"]),
            f"{method.card_precision_100:.1%}",
        )
        for name, method in found.methods.items()
    )
    head = ("Method", "Average precision", "Frauds caught at 1% false alarms", "AUC", "Card precision, 100 a day")
    return table("Methods, with 95% intervals", head, rows, mark_first=True)


def budget_table(found: Evaluation, which: str) -> str:
    """What is found when only so many transactions are looked at."""
    one = found.methods[ENSEMBLE].budgets[which]
    rows = (
        (
            DISPLAY_NAMES[name],
            f"{method.budgets[which].frauds_caught:,} ({method.budgets[which].frauds_share:.0%})",
            f"{method.budgets[which].money_saved:,.0f} ({method.budgets[which].money_share:.0%})",
        )
        for name, method in found.methods.items()
    )
    caption = f"Looking at the {100 * one.share:g}% most suspicious payments ({one.alerts:,})"
    return table(caption, ("Method", "Frauds found", "Money in them"), rows, mark_first=True)


def streak_table(found: Evaluation) -> str:
    """How soon each method notices a streak; empty where none begins in the range."""
    rows = [
        (
            DISPLAY_NAMES[name],
            f"{one.first_caught:.0%}",
            f"{one.caught_within_three:.0%}",
            f"{one.ever_caught:.0%}",
            _hours(one.median_hours),
        )
        for name, one in ((name, method.streaks) for name, method in found.methods.items())
        if one is not None
    ]
    if not rows:
        return "<p>No streak of frauds begins in the judged range.</p>"
    head = ("Method", "First fraud flagged", "Within three", "Ever", "Median time to first flag")
    return table("Streaks of frauds, at 1% false alarms", head, rows, mark_first=True)


def group_table(found: Evaluation, kind: str, groups: dict[str, Group]) -> str:
    """A grouping: the ensemble beside the best baseline."""
    best = found.differences["tpr_at_1pct_fpr"].baseline
    rows = (
        (
            words(name),
            f"{group.frauds:,}",
            *(
                _optional(getattr(group.methods[method], measure), form)
                for measure, form in (("caught_at_1pct_fpr", ".0%"), ("average_precision", ".3f"))
                for method in (ENSEMBLE, best)
            ),
        )
        for name, group in groups.items()
    )
    other = DISPLAY_NAMES[best]
    head = (kind.capitalize(), "Frauds", "Ensemble catches", f"{other} catches", "Ensemble AP", f"{other} AP")
    return table(f"By {kind}, at 1% false alarms over all judged rows", head, rows)


def campaign_table(found: Evaluation) -> str:
    """How soon each campaign is noticed within the alert budget: the ensemble beside the best baseline."""
    rows = [
        (
            words(name),
            f"{one.instances:,}",
            f"{one.methods[ENSEMBLE].caught_within_three:.0%}",
            f"{one.methods[one.best_baseline].caught_within_three:.0%} ({DISPLAY_NAMES[one.best_baseline]})",
            _hours(one.methods[ENSEMBLE].median_hours),
            _hours(one.methods[one.best_baseline].median_hours),
        )
        for name, one in found.campaigns.items()
        if one.best_baseline is not None
    ]
    if not rows:
        return ""
    share = next(iter(found.campaigns.values())).alert_share
    head = ("Campaign", "Instances", "Ensemble: alert within three", "Best baseline", "Ensemble: time", "Its time")
    return table(f"Campaigns, where the {100 * share:g}% most suspicious payments are alerts", head, rows)


def agreement_table(found: Evaluation) -> str:
    """Whether the reasons of frauds whose story is known are right; empty where none is."""
    rows = [
        (
            words(name),
            " or ".join(dict.fromkeys(words(_about(code)) for code in one.right)),
            f"{one.flagged:,}",
            _optional(one.right_first, ".0%"),
            _optional(one.right_among, ".0%"),
        )
        for name, one in found.reasons.agreement.items()
    ]
    if not rows:
        return ""
    head = ("Campaign", "Right reason", "Frauds flagged", "Right one first", "Among all given")
    return table("Do the reasons name what gives the campaign away?", head, rows, prose=(1,))


def drift_table(found: Evaluation) -> str:
    """The inputs of the models that changed most, and what changed without being read by them."""
    rows = [
        (name, _DOCS[name], f"{found.drift[name]:.3f}", _drift_word(found.drift[name]))
        for name in found.drift
        if name in _INPUTS
    ][:DRIFT_ROWS]
    unread = [name for name, psi in found.drift.items() if name not in _INPUTS and psi >= MOVED_PSI]
    note = (
        f"<p>Changed much as well, but not read by the models: {escape(', '.join(unread))}. Counts since a user's "
        "first payment and the age of an account grow by themselves.</p>"
        if unread
        else ""
    )
    head = ("Model input", "What it is", "Stability index", "")
    return table("Model inputs that changed most since training", head, rows, prose=(1, 3)) + note


def reasons_table(found: Evaluation) -> str:
    """Which reason leads, over all flagged rows and by campaign."""
    total = sum(found.reasons.leading.values())
    rows = [("all flagged payments", f"{total:,}", *_leading(found.reasons.leading))]
    rows += [
        (f"{words(name)} (fraud)", f"{sum(codes.values()):,}", *_leading(codes))
        for name, codes in found.reasons.by_campaign.items()
    ]
    head = ("Of", "Flagged", "Leading reason", "Then")
    return table("Leading reason where the ensemble flags", head, rows, prose=(2, 3))


def story_list(stories: Sequence[Story], nothing: str) -> str:
    """Stories, each with the user's payments before it to open."""
    if not stories:
        return f"<p>{escape(nothing)}</p>"
    return "".join(_story(story) for story in stories)


def lead_sentence(measure: str, one: Difference) -> str:
    """Whether the ensemble is ahead of the best baseline, as far as the data can tell."""
    name, baseline = MEASURE_NAMES[measure], DISPLAY_NAMES[one.baseline]
    if one.interval is None:
        return f"In {name} the best baseline, {baseline}, is {one.difference:+.3f} away; too few users to say more."
    low, high = one.interval
    sure = f"{one.difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
    if low > 0.0:
        return f"In {name} it is ahead of the best baseline, {baseline} ({sure})."
    if high < 0.0:
        return f"In {name} it is behind the best baseline, {baseline} ({sure})."
    return f"In {name} it cannot be told apart from the best baseline, {baseline} ({sure})."


def _story(story: Story) -> str:
    earlier = "".join(f"<li>{escape(line)}</li>" for line in story.earlier)
    older = story.earlier_rows - len(story.earlier)
    before = f"the last {len(story.earlier)} before it, after {older:,} older ones" if older else "all before it"
    history = (
        f"<details><summary>The user's payments: {before}</summary><ol>{earlier}</ol></details>"
        if earlier
        else "<p>It is the user's first payment.</p>"
    )
    kind = f" ({escape(words(story.campaign))})" if story.campaign else ""
    others = f"<p>{story.others:,} more of the same user are not told.</p>" if story.others else ""
    reasons = "".join(f"<li>{escape(reason)}.</li>" for reason in story.reasons)
    return (
        f"<article><p><b>{escape(story.this)}</b>{kind}, by {escape(story.user)}: score {story.score:.4f}</p>"
        f"<p>What stands out most:</p><ul>{reasons}</ul>{history}{others}</article>"
    )


def words(name: str) -> str:
    """A campaign's or a code's name, to be read."""
    return name.replace("_", " ")


def _about(code: str) -> str:
    """A code, or its subject where every code of that is meant: six codes of the amount would hide the rest."""
    return "about the amount" if subject_of(code) == AMOUNT else code


def _leading(codes: dict[str, int]) -> tuple[str, str]:
    total = max(sum(codes.values()), 1)
    shares = [f"{words(code)} {count / total:.0%}" for code, count in codes.items()]
    return (shares[0] if shares else "none"), ", ".join(shares[1:4])


def _drift_word(psi: float) -> str:
    return "stable" if psi < STABLE_PSI else "moved" if psi < MOVED_PSI else "changed much: consider training anew"


def _figure(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _share(value: float, interval: Interval | None) -> str:
    return f"{value:.1%}" if interval is None else f"{value:.1%} ({interval[0]:.0%}–{interval[1]:.0%})"


def _hours(value: float | None) -> str:
    if value is None:
        return "never"
    if value == 0.0:
        return "at once"
    return f"{value:,.1f} h" if value >= 1.0 else f"{60.0 * value:.0f} min"


def _optional(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
