"""The report stands alone, escapes what a file says, draws what the figures are, and tells its stories readably."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest

from fraudstream.decide.attribution_kernel import MAX_REASONS
from fraudstream.decide.policy import Policy
from fraudstream.training.campaign_findings import campaigns_of
from fraudstream.training.evaluation import ENSEMBLE, METHODS, Difference, Evaluation
from fraudstream.training.findings import find
from fraudstream.training.history import History
from fraudstream.training.report import html_report
from fraudstream.training.report_plots import Axis, Bars, Line, chart, count_axis, share_axis
from fraudstream.training.report_tables import DISPLAY_NAMES, lead_sentence, table
from fraudstream.training.stories import EARLIER_ROWS, STORIES, costliest_misses, loudest_false_alerts
from tests.judged import silent, small_judged

MARKUP = '<script>alert("&")</script>'
VOID = frozenset({"meta", "br", "hr", "img", "link"})


@cache
def evaluation() -> Evaluation:
    order, judged = small_judged()
    return find(judged, order.seed, order.draws, silent)


@cache
def page() -> str:
    order, judged = small_judged()
    return html_report(order, judged, evaluation())


class _Balance(HTMLParser):
    """Fails at the first element that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_page_is_well_formed_and_has_all_its_parts() -> None:
    parser = _Balance()
    parser.feed(page())
    assert parser.open == []
    assert parser.headings == [
        "Methods side by side",
        "What an alert budget buys",
        "How soon a thief is noticed",
        "Where it finds fraud, and where not",
        "Scores and alerts",
        "What has changed since training",
        "Reasons given",
        "The costliest misses",
        "The loudest false alerts",
        "How it was measured",
    ]
    assert page().count("<svg") == 4  # precision and recall, scores, calibration, alert rate


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert not re.search(r"(?:src|href)=|url\(|@import|<script|<link|https?://", page())


def test_no_path_of_the_machine_is_told() -> None:
    order, _ = small_judged()
    assert str(order.source.parent) not in page()
    assert order.source.name in page()


def test_what_a_file_says_is_never_markup() -> None:
    order, judged = small_judged()
    table_of_file = judged.history.table
    for name in ("merchant", "category", "location", "device_id", "campaign", "user_id"):
        at = table_of_file.column_names.index(name)
        texts = [f"{MARKUP}{text}" if text else text for text in table_of_file[name].to_pylist()]
        table_of_file = table_of_file.set_column(at, name, [texts])
    evil = replace(judged, history=History(table_of_file))
    shown = html_report(order, evil, find(evil, 1, 0, silent))
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert '"&")' not in re.sub(r"<[^>]*>", "", shown)


def test_every_method_and_campaign_has_its_row() -> None:
    for name in METHODS:
        assert f'<th scope="row">{escape(DISPLAY_NAMES[name])}</th>' in page()
    for name in evaluation().campaigns:
        assert f'<th scope="row">{name.replace("_", " ")}</th>' in page()


def test_a_model_that_saw_the_judged_rows_or_failed_is_warned_of() -> None:
    order, judged = small_judged()
    assert "trained on part of what is judged" in page()
    honest = html_report(order, judged, replace(evaluation(), has_seen_judged=False))
    assert "Beware" not in honest
    failed = html_report(order, judged, replace(evaluation(), degraded=("lstm",)))
    assert "lstm failed for some payments" in failed


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.01, 0.2), "is ahead of the best baseline"),
        ((-0.2, -0.01), "is behind the best baseline"),
        ((-0.1, 0.1), "cannot be told apart"),
        (None, "too few users to say more"),
    ],
)
def test_a_lead_is_claimed_only_where_the_interval_shows_one(interval: tuple[float, float] | None, word: str) -> None:
    assert word in lead_sentence("average_precision", Difference("ecod", 0.05, interval))


# Stories


def test_misses_are_the_largest_frauds_that_were_not_flagged_one_for_each_user() -> None:
    _, judged = small_judged()
    missed = replace(judged, flagged=np.zeros(len(judged.rows), np.bool_))
    stories = costliest_misses(missed)
    is_fraud = judged.is_fraud[judged.rows]
    users = judged.user[judged.rows]
    largest = {int(user): judged.amount[is_fraud & (users == user)].max() for user in set(users[is_fraud].tolist())}
    assert [story.amount for story in stories] == sorted(largest.values(), reverse=True)[:STORIES]
    assert len({story.user for story in stories}) == len(stories)
    campaigns = campaigns_of(judged)
    assert campaigns is not None
    assert {story.campaign for story in stories} <= set(campaigns[is_fraud].tolist())
    told = {story.user: story.others + 1 for story in stories}
    assert sum(told.values()) <= is_fraud.sum()
    assert all(story.this.endswith(", fraud") for story in stories)


def test_false_alerts_are_the_highest_scores_of_normal_payments() -> None:
    _, judged = small_judged()
    stories = loudest_false_alerts(judged)
    is_fraud = judged.is_fraud[judged.rows]
    assert stories[0].score == judged.scores[ENSEMBLE][~is_fraud].max()
    scores = [story.score for story in stories]
    assert scores == sorted(scores, reverse=True)
    assert len(stories) <= STORIES
    assert all(story.campaign == "" and "fraud" not in story.this for story in stories)


def test_a_story_tells_what_the_user_did_before_and_nothing_of_later() -> None:
    _, judged = small_judged()
    table_of_file = judged.history.table.to_pylist()
    for story in loudest_false_alerts(judged):
        of_user = [row for row in table_of_file if row["user_id"] == story.user]
        assert len(story.earlier) == min(EARLIER_ROWS, story.earlier_rows)
        this = of_user[story.earlier_rows]
        assert this["amount"] == story.amount
        assert f"{this['timestamp']:%H:%M}: {this['amount']:,.2f} at {this['merchant']}" in story.this
        for row, words in zip(of_user[story.earlier_rows - len(story.earlier) :], story.earlier, strict=False):
            assert f"{row['amount']:,.2f} at {row['merchant']}" in words
        assert 1 <= len(story.reasons) <= MAX_REASONS + 1


# Charts and tables


def test_every_tick_says_its_value() -> None:
    for high in (3e-8, 1.1e-6, 1.1e-5, 1.3e-4, 0.001, 0.013, 0.1, 0.11, 0.3, 0.99, 1.0):
        axis = share_axis("share", high)
        assert axis.high >= high * (1 - 1e-9)
        assert 2 <= len(axis.ticks) <= 8
        for value, text in axis.ticks:
            assert float(text.rstrip("%")) / 100 == pytest.approx(value, abs=1e-12)
    assert [text for _, text in count_axis("count", 30_000).ticks] == ["1", "10", "100", "1,000", "10,000", "100,000"]


def test_an_axis_places_values_by_their_kind_and_holds_what_lies_beyond() -> None:
    plain, log = Axis("x", 0.0, 4.0, ()), Axis("x", 1.0, 100.0, (), is_log=True)
    assert [plain.share(value) for value in (-1.0, 1.0, 9.0)] == [0.0, 0.25, 1.0]
    assert [log.share(value) for value in (0.1, 10.0, 1000.0)] == pytest.approx([0.0, 0.5, 1.0])


def test_marks_are_drawn_inside_the_chart_and_named_in_the_legend() -> None:
    x, y = Axis("x", 0.0, 1.0, ()), Axis("y", 0.0, 1.0, ())
    drawn = chart(
        "t <i>", x, y, [Line("a & b", "#000", [(0.0, 0.0), (1.0, 2.0)]), Bars("c", "#111", [(0.0, 0.5, 0.5)])]
    )
    assert "<i>" not in drawn
    assert "a &amp; b" in drawn
    numbers = [float(number) for pair in re.findall(r'points="([^"]*)"', drawn) for number in re.split("[ ,]", pair)]
    assert numbers
    assert all(0.0 <= number <= 520.0 for number in numbers)
    height, base = 320 - 12 - 46, 320 - 46
    assert f'height="{height / 2:.1f}"' in drawn
    assert f'y="{base - height / 2:.1f}"' in drawn


def test_a_table_escapes_its_cells_and_marks_prose() -> None:
    drawn = table("a < b", ("x", "y", "z"), [("1", "<b>", "3")], mark_first=True, prose=(1,))
    assert "<b>" not in drawn
    assert drawn.count("class=prose") == 2
    assert "class=lead" in drawn


def test_thresholds_by_category_are_told_wherever_the_threshold_is() -> None:
    order, judged = small_judged()
    own = replace(evaluation().alert_rate, frauds_caught=18, own_thresholds={"grocery": 0.85, "travel": 0.955})
    shown = html_report(order, judged, replace(evaluation(), alert_rate=own))
    words = "the threshold of 0.9 (of 2 categories their own, 0.850 to 0.955)"
    assert f"Above {words} the model flags" in shown
    assert f"stayed below {words}." in shown
    assert "common threshold: 0.9" in shown
    assert "their own" not in page()
    assert "common threshold" not in page()


@pytest.mark.parametrize(
    ("contamination", "shares"), [(0.1, ["1%", "10%"]), (0.01, ["1%"]), (0.004, ["0.4%", "1%"]), (0.07, ["1%", "7%"])]
)
def test_each_budget_has_one_table_that_says_its_share(contamination: float, shares: list[str]) -> None:
    order, judged = small_judged()
    shown = html_report(order, judged, find(replace(judged, policy=Policy(contamination)), 1, 0, silent))
    assert re.findall("<caption>Looking at the ([^ ]*) most suspicious", shown) == shares
