"""What counts as a right reason follows from what the campaigns really do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from fraudstream.decide.codes import REASON_CODES
from fraudstream.training.campaign_findings import campaigns_of
from fraudstream.training.campaigns import CAMPAIGN_NAMES, SMALLEST_HAUL_USD
from fraudstream.training.reason_findings import agreement, reasons_given
from fraudstream.training.right_reasons import ABOUT_AMOUNT, HANDBOOK, SIMULATED, Right, right_reasons
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.judged import small_judged


@cache
def stream() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = simulate(SimulationSpec(transactions=40_000, seed=11)).table.to_pylist()
    return rows


def test_every_campaign_has_right_reasons_and_each_is_a_reason() -> None:
    assert tuple(SIMULATED) == CAMPAIGN_NAMES
    for right in (*SIMULATED.values(), *HANDBOOK.values()):
        assert {*right.codes, *right.of_large} <= set(REASON_CODES)
        assert right.codes


def test_only_the_files_of_the_handbook_have_its_scenarios() -> None:
    assert right_reasons("fraud_scenario") == HANDBOOK
    assert right_reasons("campaign") == SIMULATED
    assert "2" not in HANDBOOK  # a compromised terminal leaves no trace in a payment


@pytest.mark.parametrize("campaign", ["account_takeover", "merchant_compromise"])
def test_where_a_new_device_is_right_the_victim_never_had_it(campaign: str) -> None:
    own: defaultdict[str, set[str]] = defaultdict(set)
    for row in stream():
        if row["campaign"] == campaign:
            assert row["device_id"] is not None
            assert row["device_id"] not in own[row["user_id"]]
        if not row["is_fraud"]:
            own[row["user_id"]].add(row["device_id"])


def test_a_tested_card_pays_little_until_it_pays_much_once() -> None:
    amounts = defaultdict(list)
    for row in stream():
        if row["campaign"] == "card_testing":
            amounts[row["user_id"]].append(row["amount"])
    right = SIMULATED["card_testing"]
    for *tests, haul in amounts.values():
        assert max(tests) < 5.0 < SMALLEST_HAUL_USD <= haul
        assert {right.of(amount) for amount in tests} == {("card_testing", "high_velocity")}
        assert right.of(haul) == ("card_testing", "high_velocity", *ABOUT_AMOUNT)


def test_a_slow_drain_stays_with_one_merchant() -> None:
    merchants = defaultdict(set)
    for row in stream():
        if row["campaign"] == "slow_drain":
            merchants[row["user_id"]].add(row["merchant"])
    assert {len(found) for found in merchants.values()} == {1}


def test_agreement_counts_the_leading_reason_and_any_of_them() -> None:
    right = Right(("high_velocity",), ("large_amount",), 250.0)
    given = [
        (1.0, ("high_velocity", "new_device")),
        (1.0, ("high_velocity", "odd_hour", "new_device")),
        (1.0, ("new_device", "high_velocity")),
        (1.0, ("large_amount",)),  # right for a large one only
        (250.0, ("large_amount",)),
    ]
    found = agreement(right, given)
    assert (found.flagged, found.right_first, found.right_among) == (5, 0.6, 0.8)
    assert found.right == ("high_velocity", "large_amount")
    assert agreement(right, ()).right_first is None


def test_reasons_are_counted_over_the_flagged_rows_of_each_campaign() -> None:
    _, judged = small_judged()
    campaign = campaigns_of(judged)
    assert campaign is not None
    found = reasons_given(judged, campaign)
    flagged = judged.flagged
    is_fraud = judged.is_fraud[judged.rows]
    assert sum(found.leading.values()) == flagged.sum()
    for name in set(campaign[is_fraud].tolist()):
        expected = int((flagged & is_fraud & (campaign == name)).sum())
        assert sum(found.by_campaign.get(name, {}).values()) == expected
        assert found.agreement[name].flagged == expected
    assert set(found.agreement) == set(campaign[is_fraud].tolist())
    assert reasons_given(replace(judged, campaign_column="fraud_scenario"), campaign).agreement == {}
    alone = reasons_given(judged, None)
    assert alone.agreement == {}
    assert list(alone.by_campaign) == ["all frauds"]
