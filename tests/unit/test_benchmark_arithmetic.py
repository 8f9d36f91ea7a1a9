"""The arithmetic of the long benchmarks: lines, percentiles, buckets, what is flat, and what a cluster would take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.circumstances import measured_on
from benchmarks.latency import Case, Result, bounds, rate_near
from benchmarks.line import Line
from benchmarks.live import Scrape, most_between
from benchmarks.open_loop import Answers
from benchmarks.plot import draw_soak
from benchmarks.profile_worker import PARTS, shares, table
from benchmarks.scaling import CHECKS, Model, can_scale, main, read_samples, section
from benchmarks.soak_report import Reading, Soak, as_json, growth, judge, page
from benchmarks.summary import BrokerUse, Sample
from benchmarks.targets import PREDICT_BESIDE, VERDICT_AT, VERDICT_AT_80_PERCENT, WORKER_AT_100, bounds_table
from fraudstream.machine import Machine

MACHINE = Machine("a processor", 2, 8.0, "Linux 6", "3.11.7", {"torch": "2.5.0", "numba": "1"})
EVENT_US, PARTITION_US, BROKER_US = 40.0, 500.0, 20.0


def test_a_line_is_that_of_least_squares_with_its_textbook_error() -> None:
    line = Line.through([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0])
    assert (line.slope, line.intercept) == pytest.approx((0.8, 1.3))
    assert line.slope_error == pytest.approx((1.8 / 2 / 5) ** 0.5)  # residuals -.3 .9 -.9 .3 alternate: not widened
    assert line.at(10.0) == pytest.approx(9.3)


def test_readings_that_resemble_their_neighbours_widen_the_error() -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=200)
    alone, wandering = steps.tolist(), [0.0]
    for step in steps[1:]:
        wandering.append(0.9 * wandering[-1] + step)
    xs = np.arange(200.0).tolist()

    def textbook(ys: Sequence[float]) -> float:
        _, covariance = np.polyfit(xs, ys, 1, cov=True)
        return math.sqrt(covariance[0, 0])

    assert Line.through(xs, alone).slope_error == pytest.approx(textbook(alone), rel=0.15)
    assert Line.through(xs, wandering).slope_error > 3 * textbook(wandering)


@pytest.mark.parametrize("xs", [[0.0, 1.0], [1.0, 1.0, 1.0]])
def test_no_line_goes_through_two_points_or_one_place(xs: list[float]) -> None:
    with pytest.raises(ValueError, match="three points"):
        Line.through(xs, xs)


def test_a_percentile_is_an_answer_that_came_and_failures_are_what_is_not_200() -> None:
    answers = Answers([at / 1000 for at in range(1000, 0, -1)])
    answers.statuses.update({200: 998, 503: 1, 0: 1})
    assert [answers.percentile_ms(share) for share in (0.5, 0.99, 0.999)] == pytest.approx([501, 991, 1000])
    assert answers.failed == 2


def test_the_largest_value_between_two_scrapes_is_found_by_its_bucket() -> None:
    def said(*counts: int) -> Scrape:
        buckets = zip(("0.01", "0.1", "1.0", "+Inf"), counts, strict=True)
        lines = [f'lag_seconds_bucket{{le="{bound}"}} {count}' for bound, count in buckets]
        return Scrape.of("\n".join(["# TYPE lag_seconds histogram", *lines, 'x{p="0"} 2', 'x{p="1"} 3', ""]))

    before = said(5, 9, 10, 10)
    assert most_between(before, said(7, 12, 13, 13), "lag_seconds") == 0.1
    assert most_between(before, said(5, 9, 10, 11), "lag_seconds") == float("inf")
    assert most_between(before, before, "lag_seconds") == 0.0
    assert before.total("x") == 5.0
    assert before.total("x", p="1") == 3.0


def readings(growth_an_hour: float, noise: float = 0.0, minutes: int = 30) -> list[Reading]:
    rng = np.random.default_rng(1)
    return [
        Reading(
            at_s=at * 10.0,
            resident_bytes=9e8 + growth_an_hour * at / 360 + noise * rng.normal(),
            write_buffer_bytes=0.0,
            open_files=40,
            backlog=10,
            most_loop_lag_ms=5.0,
            judged=20_000,
        )
        for at in range(1, minutes * 6 + 1)
    ]


def soak_of(found: list[Reading]) -> Soak:
    date = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return Soak(date, MACHINE, (0.5, 1.5), "python -m benchmarks.soak", 2_000, 10_000, 20, found)


def test_memory_is_flat_leaks_or_is_not_known_yet() -> None:
    assert soak_of(readings(0.0, noise=1e5)).verdict("steady_bytes") == "flat"
    assert soak_of(readings(-5e7)).verdict("steady_bytes") == "flat"
    leak = soak_of(readings(5e7, noise=1e5))
    assert leak.verdict("steady_bytes") == "not flat"
    assert not leak.is_flat
    assert leak.line("steady_bytes").slope == pytest.approx(5e7, rel=0.02)
    assert soak_of(readings(0.0, noise=3e7, minutes=2)).verdict("steady_bytes") == "not decided"


def test_what_may_grow_is_a_hundredth_of_the_mean_in_an_hour() -> None:
    assert judge(Line(0.0, 9.9, 0.0), 1000.0) == "flat"
    assert judge(Line(0.0, 10.1, 0.0), 1000.0) == "not flat"
    assert judge(Line(0.0, 9.9, 0.2), 1000.0) == "not decided"


def test_the_first_third_of_a_soak_is_not_judged() -> None:
    filling = readings(0.0)
    start = [replace(one, resident_bytes=one.resident_bytes * 0.5) for one in filling[:60]]
    assert soak_of(start + filling[60:]).verdict("steady_bytes") == "flat"
    assert soak_of(start + filling[59:]).judged_readings[0].resident_bytes == filling[60].resident_bytes


def test_write_buffers_that_fill_and_empty_are_no_growth_and_hide_none() -> None:
    def filling(growth_an_hour: float) -> list[Reading]:
        rng = np.random.default_rng(2)
        return [
            replace(one, resident_bytes=one.resident_bytes + held, write_buffer_bytes=held)
            for one, held in zip(readings(growth_an_hour), 6e7 * rng.random(180), strict=True)
        ]

    assert soak_of(filling(0.0)).verdict("steady_bytes") == "flat"
    assert soak_of(filling(1.2e7)).verdict("steady_bytes") == "not flat"
    assert soak_of(filling(1.2e7)).verdict("resident_bytes") == "not decided"


def test_a_soak_tells_where_memory_was_highest() -> None:
    falling = soak_of(readings(-6e7))
    assert falling.highest() == falling.readings[0]
    assert falling.highest(2 / 3) == falling.readings[120]


def test_the_page_of_a_soak_tells_growth_with_its_error_machine_and_picture(tmp_path: Path) -> None:
    soak = soak_of(readings(5e7))
    told = page(soak, "soak.png")
    for part in (
        "Memory is **not flat**: +50,000,000 ± 0 bytes an hour",
        "highest reading, 925.0 MB, was that after 30.0 minutes; the highest of the last third is 925.0 MB.",
        "(soak.png)",
        "2026-01-02 03:04 UTC: a processor, 2 cores, 8 GiB",
        "torch 2.5.0, numba 1",
        "0.5 to 1.5",
        "3,600,000 judged",
    ):
        assert part in told
    assert growth(Line(0.0, -1234.5, 56.7)) == "-1,234 ± 57 bytes an hour (standard error)"
    assert json.loads(as_json(soak))["lines"]["open_files"]["verdict"] == "flat"
    draw_soak(soak, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_a_load_average_that_was_read_once_is_told_once() -> None:
    assert measured_on(datetime(2026, 1, 2, tzinfo=UTC), MACHINE, [0.7]).endswith("before each measurement: 0.7.")


def test_a_missed_bound_is_told_with_its_figure() -> None:
    table = bounds_table([(PREDICT_BESIDE, "", 25.0), (PREDICT_BESIDE, "4,000 judged a second", 25.1)])
    assert table.splitlines()[-2].endswith("| ≤ 25 ms | 25 ms | yes |")
    assert table.splitlines()[-1].endswith("p99, 4,000 judged a second | ≤ 25 ms | 25.1 ms | **no** |")


def test_bounds_are_held_against_rows_of_their_rate_with_the_usual_checkpoints() -> None:
    def row(rate: int, interval_s: float = 0.1) -> Result:
        latency_ms = {"p50": rate / 200, "p99": rate / 100, "p999": rate / 50}
        return Result(Case(rate, interval_s, "read_committed"), latency_ms, 1, 0, 0.3, 0.1, 0.5, 1.0)

    assert rate_near(22_345.0) == 17_800
    found = bounds([row(100), row(100, 0.5), row(5_000), row(17_800), row(17_900)], 22_345.0)
    assert found == [
        (WORKER_AT_100, "`read_committed`", 0.3),
        (VERDICT_AT[5_000, "read_committed", "p99"], "`read_committed`", 50.0),
        (VERDICT_AT_80_PERCENT, "`read_committed`", 178.0),
    ]
    at_1000 = bounds([row(1_000)], None)
    assert [(bound.limit, value) for bound, _, value in at_1000] == [(90, 5.0), (160, 10.0), (250, 20.0), (0.45, 0.3)]


def sample(rate: float, interval_s: float, workers: int = 1, partitions: int = 4) -> Sample:
    """What a machine would say on which the model is exactly right."""
    records = 100_000
    cpu_us = EVENT_US + PARTITION_US * partitions * workers / (rate * interval_s)
    use = BrokerUse(0.1, BROKER_US * records / 1e6, {"transactions": 300 * records, "state": 100 * records})
    return Sample(records, cpu_us * records / 1e6, records / rate, 1.0, use)


def cluster() -> dict[str, list[Sample]]:
    def limit(interval_s: float, partitions: int) -> float:  # a worker with a core of its own
        return float((1e6 - PARTITION_US * partitions / interval_s) / EVENT_US)

    both = (2e6 - 2 * PARTITION_US * 2) / (EVENT_US + BROKER_US)  # two cores for two workers and the broker
    return {
        "checkpoint_50_ms": [sample(limit(0.05, 4), 0.05)],
        "checkpoint_250_ms": [sample(limit(0.25, 4), 0.25)],
        "checkpoint_1000_ms": [sample(limit(1.0, 4), 1.0)],
        "full_path": [sample(limit(1.0, 4), 1.0)],
        "partitions_1": [sample(limit(1.0, 1), 1.0, partitions=1)],
        "partitions_2": [sample(limit(1.0, 2), 1.0, partitions=2)],
        "two_workers": [sample(both, 1.0, workers=2, partitions=2)],
        "three_brokers": [sample(5_000.0, 1.0)],
    }


def test_the_model_finds_the_costs_that_the_cases_were_made_with() -> None:
    model = Model.of(cluster())
    assert (model.event_us, model.partition_us) == pytest.approx((EVENT_US, PARTITION_US))
    assert model.worker_cores == pytest.approx(1.0)
    assert (model.broker_us, model.replicated_us) == pytest.approx((BROKER_US, BROKER_US + 1.0))
    assert model.event_bytes == {"transactions": 300, "verdicts": 0, "alerts": 0, "changelog": 1_600}


def test_what_is_computed_for_measured_cases_is_what_they_were() -> None:
    found, model = cluster(), Model.of(cluster())
    for name, (workers, partitions) in CHECKS.items():
        rate, cost = model.predict(workers, partitions, cores=2)
        assert rate == pytest.approx(found[name][0].events_per_second), name
        assert cost == pytest.approx(found[name][0].cpu_us_per_event), name


def test_two_workers_with_cores_enough_do_twice_as_much() -> None:
    model = Model.of(cluster())
    one, _ = model.predict(1, 2, cores=64)
    assert model.predict(2, 2, cores=64)[0] == pytest.approx(2 * one)


def test_the_plan_is_the_arithmetic_that_it_shows() -> None:
    told = section(cluster(), cores=2)
    for part in (
        "4 × 500 µs / 0.1 s = 0.020 cores",
        "(1.00 - 0.020) × 1,000,000 / 40.0 = 24,500 events/s",
        "100,000 / (24,500 × 0.7) = 5.8, so **6 workers**",
        "**24 partitions**, 4,167 events/s in each",
        "100,000 × 21.0 µs (all three, producing and consuming) = 2.1 cores busy; at 50% = **5 broker cores**",
        "300 transactions + 0 verdicts + 0 alerts + 1,600 changelog = 1,900",
        "100,000 × 1,900 × 3 = **570 MB/s written**",
        "= 190 MB/s from clients, and 2 × that = 380 MB/s between brokers: **570 MB/s**",
        "100,000 × 300 = 30 MB/s",
        "5 MB/s in, 27 MB/s out",
        "| 2 workers, 2 partitions each | 33,300 | 33,300 | +0% | 40.1 | 40.1 | +0% |",
    ):
        assert part in told


def test_cases_that_are_missing_or_were_on_somebody_elses_broker_give_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cluster()
    assert can_scale(found)
    assert not can_scale({**found, "full_path": [Sample(1, 1.0, 1.0, 1.0)]})
    del found["three_brokers"]
    assert not can_scale(found)
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"machine": {"cores": 2}, "cases": {"full_path": {"samples": []}}}), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["scaling", str(file)])
    assert main() == 1
    assert "three_brokers" in capsys.readouterr().err


def test_samples_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    from dataclasses import asdict

    kept = {name: {"samples": [asdict(one) for one in samples]} for name, samples in cluster().items()}
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"machine": {"cores": 2}, "cases": kept}), encoding="utf-8")
    assert read_samples(file) == (cluster(), 2)


def test_a_sample_counts_for_the_innermost_part_of_the_worker_that_it_passes_through() -> None:
    main = "<module> (faust);Scoring._take (fraudstream/agents/scoring.py:150)"
    found = shares(
        [
            f"{main};prepare (fraudstream/pipeline.py:90);FeatureEngine.run (fraudstream/features/engine.py:101) 5",
            f"{main};Prepared.score (fraudstream/pipeline.py:70);Ensemble.score (fraudstream/score/ensemble.py:90);"
            "Forest.score (fraudstream/score/forest.py:44);_walk (fraudstream/score/forest.py:80) 3",
            f"{main} 1",
            "<module> (faust);run (asyncio/runners.py:118) 1",
        ]
    )
    assert list(found) == list(PARTS)
    assert {part: share for part, share in found.items() if share} == pytest.approx(
        {
            "features and new profiles": 0.5,
            "forest": 0.3,
            "letting go of a batch's objects": 0.1,
            "event loop, Faust's stream and agent": 0.1,
        }
    )
    assert "| forest | 30.0% | 12.0 |" in table(found, 40.0)
