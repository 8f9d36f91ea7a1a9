"""How soon campaigns are noticed within a budget of alerts, against a team that looks at the top rows one by one."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.training.baselines import BASELINES
from fraudstream.training.campaign_findings import alerted, how_soon_noticed
from fraudstream.training.evaluate import Judged
from fraudstream.training.evaluation import ENSEMBLE, METHODS
from fraudstream.training.history import History
from tests.judged import small_judged

HOUR_S = 3600
NAMES = ("", "a", "b")

hours_of_rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 2), st.sampled_from(NAMES), st.booleans(), st.integers(0, 9)),
    min_size=4,
    max_size=40,  # hour; user; campaign; fraud; score
)


def judged_of(rows: list[tuple[int, int, str, bool, int]]) -> Judged:
    """All rows are judged; every other method says the opposite of the ensemble."""
    hour, user, campaign, is_fraud, score = (np.array([row[at] for row in rows]) for at in range(5))
    scores = score.astype(np.float64)
    return replace(
        small_judged()[1],
        history=History(pa.table({"campaign": pa.array(campaign.tolist())})),
        rows=np.arange(len(rows)),
        user=user.astype(np.int32),
        time_s=hour.astype(np.int64) * HOUR_S,
        is_fraud=is_fraud,
        scores={name: scores if name == ENSEMBLE else -scores for name in METHODS},
    )


@settings(deadline=None)
@given(hours_of_rows, st.sampled_from([0.1, 0.3, 0.5]))
def test_a_campaign_is_noticed_by_whoever_reads_the_top_rows(
    rows: list[tuple[int, int, str, bool, int]], share: float
) -> None:
    rows.sort(key=lambda row: row[0])
    alerts = sorted(range(len(rows)), key=lambda at: (-rows[at][4], at))[: round(share * len(rows))]
    found = how_soon_noticed(judged_of(rows), share)
    frauds = [at for at, row in enumerate(rows) if row[3]]
    assert set(found) == {rows[at][2] or "(none)" for at in frauds}
    for name, one in found.items():
        of_user: dict[int, list[int]] = {}
        for at in frauds:
            if (rows[at][2] or "(none)") == name:
                of_user.setdefault(rows[at][1], []).append(at)
        early = [any(at in alerts for at in instance[:3]) for instance in of_user.values()]
        hours = [
            next(rows[at][0] for at in instance if at in alerts) - rows[instance[0]][0]
            for instance in of_user.values()
            if any(at in alerts for at in instance)
        ]
        assert one.instances == len(of_user)
        assert one.frauds == sum(map(len, of_user.values()))
        assert one.methods[ENSEMBLE].caught_within_three == pytest.approx(sum(early) / len(early))
        assert one.methods[ENSEMBLE].median_hours == (median(hours) if hours else None)
        assert one.is_caught == (sum(early) / len(early) >= 0.6)


def test_every_method_may_raise_as_many_alerts() -> None:
    _, judged = small_judged()
    for scores in judged.scores.values():
        assert alerted(scores, 0.01).sum() == round(0.01 * len(judged.rows))
    assert alerted(np.array([1.0, 1.0, 0.0, 1.0]), 0.5).tolist() == [True, True, False, False]


def test_the_best_baseline_is_the_one_that_notices_most_and_the_lead_is_over_it() -> None:
    # User 0 is robbed at hours 5 and 6; two alerts of ten.
    rows = [(hour, int(hour not in (5, 6)), "a", hour in (5, 6), hour) for hour in range(10)]
    judged = judged_of(rows)
    chosen = {name: np.zeros(10) for name in METHODS}
    chosen["hbos"][6] = 1.0
    chosen["ecod"][[5, 6]] = 1.0
    one = how_soon_noticed(replace(judged, scores=chosen), 0.2)["a"]
    assert one.best_baseline == "ecod"  # hbos needs an hour more
    assert one.methods["ecod"].median_hours == 0.0
    assert one.methods["hbos"].median_hours == 1.0
    assert one.is_caught is False
    assert one.lead == -1.0
    assert set(one.methods) == set(METHODS)
    assert set(BASELINES) < set(one.methods)


def test_a_campaign_that_began_before_the_range_has_frauds_but_no_instance() -> None:
    rows = [(hour, 0, "a", hour < 2, hour) for hour in range(10)]
    one = how_soon_noticed(
        replace(judged_of(rows), rows=np.arange(1, 10), scores={name: np.arange(9.0) for name in METHODS}), 0.2
    )["a"]
    assert (one.frauds, one.instances, one.is_caught, one.best_baseline, one.lead) == (1, 0, None, None, None)


def test_a_file_without_campaigns_has_none() -> None:
    judged = small_judged()[1]
    bare = History(judged.history.table.drop_columns(["campaign"]))
    assert how_soon_noticed(replace(judged, history=bare), 0.01) == {}
