"""The figures of an evaluation as HTML tables and as words; everything that comes from a file is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fraudstream.features.catalogue import FEATURE_NAMES
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
MEASURE_NAMES = {"average_precision": "average precision", "tpr_at_1pct_fpr": "frauds caught at 1 % false alarms"}
STABLE_PSI, MOVED_PSI = 0.1, 0.25
DRIFT_ROWS = 12


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], mark_first: bool = False) -> str:
    """A table that scrolls sideways on a narrow screen; cells are text, the first of a row names it."""
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f"<tr{' class=lead' if mark_first and at == 0 else ''}>"
        f'<th scope="row">{escape(cells[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells[1:])}</tr>'
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
    head = ("Method", "Average precision", "Frauds caught at 1 % false alarms", "AUC", "Card precision, 100 a day")
    return table("Methods, with 95 % intervals", head, rows, mark_first=True)


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
    caption = f"Looking at the {one.share:.0%} most suspicious payments ({one.alerts:,})"
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
    return table("Streaks of frauds, at 1 % false alarms", head, rows, mark_first=True)


def group_table(found: Evaluation, kind: str, groups: dict[str, Group]) -> str:
    """A grouping: the ensemble beside the best baseline."""
    best = found.differences["tpr_at_1pct_fpr"].baseline
    rows = (
        (
            name,
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
    return table(f"By {kind}, at 1 % false alarms over all judged rows", head, rows)


def campaign_table(found: Evaluation) -> str:
    """How soon each campaign is noticed within the alert budget: the ensemble beside the best baseline."""
    rows = [
        (
            name,
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
    return table(f"Campaigns, where the {share:.0%} most suspicious payments are alerts", head, rows)


def agreement_table(found: Evaluation) -> str:
    """Whether the reasons of frauds whose story is known are right; empty where none is."""
    rows = [
        (
            name,
            " or ".join(code.replace("_", " ") for code in one.right),
            f"{one.flagged:,}",
            _optional(one.right_first, ".0%"),
            _optional(one.right_among, ".0%"),
        )
        for name, one in found.reasons.agreement.items()
    ]
    if not rows:
        return ""
    head = ("Campaign", "Right reason", "Frauds flagged", "Right one first", "Among the three given")
    return table("Do the reasons name what gives the campaign away?", head, rows)


def drift_table(found: Evaluation) -> str:
    """The features that changed most."""
    known = [name for name in found.drift if name in FEATURE_NAMES][:DRIFT_ROWS]
    rows = ((name, f"{found.drift[name]:.3f}", _drift_word(found.drift[name])) for name in known)
    head = ("Feature", "Stability index (PSI)", "")
    return table("Features that changed most since training", head, rows)


def reasons_table(found: Evaluation) -> str:
    """Which reason leads, over all flagged rows and by campaign."""
    total = sum(found.reasons.leading.values())
    rows = [("all flagged payments", f"{total:,}", *_leading(found.reasons.leading))]
    rows += [
        (f"{name} (fraud)", f"{sum(codes.values()):,}", *_leading(codes))
        for name, codes in found.reasons.by_campaign.items()
    ]
    return table("Leading reason where the ensemble flags", ("Of", "Flagged", "Leading reason", "Then"), rows)


def story_list(stories: Sequence[Story], nothing: str) -> str:
    """Stories that open one by one."""
    if not stories:
        return f"<p>{escape(nothing)}</p>"
    return "".join(_story(story) for story in stories)


def lead_sentence(measure: str, one: Difference) -> str:
    """Whether the ensemble is ahead of the best baseline, as far as the data can tell."""
    name, baseline = MEASURE_NAMES[measure], DISPLAY_NAMES[one.baseline]
    if one.interval is None:
        return f"In {name} the best baseline, {baseline}, is {one.difference:+.3f} away; too few users to say more."
    low, high = one.interval
    sure = f"{one.difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0.0:
        return f"In {name} it is ahead of the best baseline, {baseline} ({sure})."
    if high < 0.0:
        return f"In {name} it is behind the best baseline, {baseline} ({sure})."
    return f"In {name} it cannot be told apart from the best baseline, {baseline} ({sure})."


def _story(story: Story) -> str:
    earlier = "".join(f"<li>{escape(line)}</li>" for line in story.earlier)
    older = story.earlier_rows - len(story.earlier)
    before = f"after {older:,} older ones" if older else "all there are"
    history = f"<p>Before it ({before}):</p><ol>{earlier}</ol>" if earlier else "<p>The user's first payment.</p>"
    kind = f", {escape(story.campaign)}" if story.campaign else ""
    return (
        f"<details><summary><b>{story.amount:,.2f}</b> by {escape(story.user)}{kind}: score {story.score:.4f}</summary>"
        f"{history}<p><b>Then: {escape(story.this)}</b></p>"
        f"<p>What stands out most: {escape(story.reasons)}.</p></details>"
    )


def _leading(codes: dict[str, int]) -> tuple[str, str]:
    total = max(sum(codes.values()), 1)
    words = [f"{code.replace('_', ' ')} {count / total:.0%}" for code, count in codes.items()]
    return (words[0] if words else "none"), ", ".join(words[1:4])


def _drift_word(psi: float) -> str:
    return "stable" if psi < STABLE_PSI else "moved" if psi < MOVED_PSI else "changed much: consider training anew"


def _figure(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _share(value: float, interval: Interval | None) -> str:
    return f"{value:.1%}" if interval is None else f"{value:.1%} ({interval[0]:.0%}–{interval[1]:.0%})"


def _hours(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.1f} h" if value >= 1.0 else f"{60.0 * value:.0f} min"


def _optional(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
