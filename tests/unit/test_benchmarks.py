"""The benchmark's arithmetic and its table; what it measures is measured by running it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.cases import CASES, FLOOR, FULL_PATH, STOCK, STOCK_UVLOOP
from benchmarks.catalogue import BY_NAME
from benchmarks.checks import Found, Message, day_of_busiest_user, one_verdict_each, totals_of_users
from benchmarks.hot_path import STAGES, HotPath, records_of
from benchmarks.peer_cases import KAFKA_STREAMS, NAIVE
from benchmarks.plot import draw
from benchmarks.process_figures import cpu_s
from benchmarks.records import load_records, of_few_users
from benchmarks.report import Run, as_json, broker_table, markdown_page, markdown_table, targets_table
from benchmarks.summary import BrokerUse, Sample, Spread, order_of_round, summarise
from benchmarks.targets import TARGETS, measurable
from fraudstream.machine import Machine

RECORDS = 1_000


def sample(cpu_us: float, events_per_second: float = 10_000.0, load: float = 1.0) -> Sample:
    return Sample(RECORDS, cpu_us * RECORDS / 1e6, RECORDS / events_per_second, load)


def run_of(full_path_us: Sequence[float], others: Mapping[str, Sequence[Sample]] | None = None) -> Run:
    rounds = len(full_path_us)
    return Run(
        date=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        machine=Machine("a processor", 2, 8.0, "Linux 6", "3.11.7", {"torch": "2.5.0"}),
        command="python -m benchmarks --all",
        broker="a broker",
        partitions=4,
        source="the simulator's",
        mean_bytes=250.4,
        warm_up=10,
        settle_s=0.3,
        samples={
            FLOOR: [sample(2.0, load=0.4)] * rounds,
            STOCK: [sample(80.0)] * rounds,
            STOCK_UVLOOP: [sample(60.0, load=2.6)] * rounds,
            FULL_PATH: [sample(us, 50_000.0) for us in full_path_us],
            **(others or {}),
        },
    )


def test_a_sample_gives_cpu_and_speed_of_one_event() -> None:
    found = Sample(records=200_000, cpu_s=5.0, elapsed_s=8.0, load=0.0)
    assert found.cpu_us_per_event == pytest.approx(25.0)
    assert found.events_per_second == pytest.approx(25_000.0)


def test_a_spread_is_a_median_and_not_a_mean() -> None:
    assert Spread.of(iter([9.0, 1.0, 2.0])) == Spread(median=2.0, min=1.0, max=9.0)
    assert Spread.of([1.0, 2.0]) == Spread(1.5, 1.0, 2.0)


def test_ratios_compare_cases_of_the_same_round() -> None:
    quiet, busy = 10.0, 40.0  # the machine was slower in the second round, for both alike
    figures = summarise(
        {STOCK: [sample(quiet), sample(busy)], FULL_PATH: [sample(quiet / 2), sample(busy / 2)]}, [STOCK]
    )
    ratio = figures[FULL_PATH].ratios[STOCK]
    assert ratio.min == pytest.approx(0.5)
    assert ratio.max == pytest.approx(0.5)
    assert figures[STOCK].ratios[STOCK].median == 1.0


def test_a_case_that_missed_a_round_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        summarise({STOCK: [sample(1.0)], FULL_PATH: [sample(1.0), sample(2.0)]}, [STOCK])


def test_every_case_takes_each_place_once() -> None:
    orders = [order_of_round(("a", "b", "c"), number) for number in range(3)]
    assert all(sorted(place) == ["a", "b", "c"] for place in zip(*orders, strict=True))
    assert order_of_round(("a", "b", "c"), 3) == orders[0]


def test_the_run_fails_where_a_measured_target_is_missed() -> None:
    assert run_of([25.0] * 3).reached
    missed = run_of([26.0] * 3)
    assert not missed.reached
    assert "| CPU per event, full path / Faust stock pass-through | ≤ 0.32 | 0.33 (0.33–0.33) | **no** |" in (
        targets_table(missed)
    )


def test_one_noisy_round_does_not_decide() -> None:
    assert run_of([20.0, 90.0, 21.0]).reached


def test_what_must_be_large_is_missed_when_it_is_small() -> None:
    naive = {NAIVE: [sample(350 * 20.0 - 1)] * 3}
    assert not run_of([20.0] * 3, naive).reached
    assert run_of([19.9] * 3, naive).reached


def test_only_targets_of_measured_cases_are_judged() -> None:
    assert len(measurable({FULL_PATH, STOCK})) == 2
    assert measurable({FULL_PATH}) == []
    assert {one for target in TARGETS for one in (target.of, target.by)} <= BY_NAME.keys()


def test_the_table_has_a_row_for_each_case_with_median_and_spread() -> None:
    lines = markdown_table(run_of([20.0, 24.0, 22.0])).splitlines()
    assert len(lines) == 2 + len(CASES)
    assert {line.count("|") for line in lines} == {7}
    assert lines[-1].endswith(
        "| 1,000 | 22.0 (20.0–24.0) | 50,000 (50,000–50,000) | 0.28 (0.25–0.30) | 0.37 (0.33–0.40) |"
    )


def test_a_run_without_the_baselines_has_no_columns_for_them() -> None:
    run = run_of([22.0])
    alone = replace(run, samples={FULL_PATH: run.samples[FULL_PATH]})
    assert {line.count("|") for line in markdown_table(alone).splitlines()} == {5}
    assert alone.reached


def test_the_page_tells_date_machine_load_source_and_what_each_case_is() -> None:
    run = run_of([22.0], {KAFKA_STREAMS: [sample(12.0)]})
    page = markdown_page(run, "performance.png")
    for fact in ("2026-01-02 03:04 UTC", "a processor, 2 cores, 8 GiB", "torch 2.5.0", "0.4 to 2.6", "the simulator's"):
        assert fact in page
    for part in (
        markdown_table(run),
        targets_table(run),
        "(performance.png)",
        "-Xmx512m",
        "python -m benchmarks --all",
    ):
        assert part in page


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(run_of([22.0, 24.0]).figures, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_tells_what_the_broker_did_for_an_event_and_how_many_were_alerts() -> None:
    use = BrokerUse(0.005, 0.02, {"transactions": 250 * RECORDS, "verdicts": 1_200 * RECORDS, "state": 90 * RECORDS})
    run = run_of([22.0])
    seen = replace(run, samples={**run.samples, FULL_PATH: [replace(sample(22.0), broker=use, flagged=0.123)]})
    assert "** | 5.0 | 20.0 | 250 | 1,200 | 0 | 90 | 0 | 12.3% |" in broker_table(seen)
    assert broker_table(seen) in markdown_page(seen)
    assert broker_table(run) == ""
    assert as_json(seen)["cases"][FULL_PATH]["samples"][0]["broker"]["log_bytes"]["state"] == 90 * RECORDS


def test_payments_of_few_users_are_the_same_payments_with_their_key() -> None:
    given = [paid(f"u{number}", 0, float(number)) for number in range(100)]
    folded = of_few_users(given, 5)
    values = [json.loads(value) for _, value in folded]
    assert len({key for key, _ in folded}) == 5
    assert [value["user_id"].encode() for value in values] == [key for key, _ in folded]
    assert [value["amount"] for value in values] == [float(number) for number in range(100)]
    assert of_few_users(given, 5) == folded


def test_the_json_result_survives_a_round_trip() -> None:
    found = json.loads(json.dumps(as_json(run_of([22.0, 24.0]))))
    assert found["cases"][FULL_PATH]["cpu_us_per_event"] == {"median": 23.0, "min": 22.0, "max": 24.0}
    assert [each["records"] for each in found["cases"][FULL_PATH]["samples"]] == [RECORDS, RECORDS]
    assert [target["reached"] for target in found["targets"]] == [True, True]
    assert found["targets"][0]["measured"]["median"] == pytest.approx(23 / 80)


def paid(user: str, number: int, amount: float, hour: float = 0.0) -> Message:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    given = {"transaction_id": f"{user}{number}", "user_id": user, "amount": amount, "timestamp": time.isoformat()}
    return user.encode(), json.dumps(given).encode()


PAID = [paid("a", 0, 1.5), paid("b", 0, 2.0, 1), paid("a", 1, 2.5, 24), paid("a", 2, 4.0, 25)]


def test_a_lost_and_a_repeated_verdict_are_found() -> None:
    found = [Found(one) for one in ("a0", "b0", "a1", "a2")]
    assert one_verdict_each(found, PAID) == ""
    assert "got 3 of 3" in one_verdict_each(found[1:], PAID)
    assert "got 5 of 4" in one_verdict_each([*found, found[0]], PAID)


def test_a_wrong_total_of_any_user_is_found() -> None:
    right = [Found("a2", "a", count=3, sum=8.0), Found("b0", "b", count=1, sum=2.0)]
    assert totals_of_users(right, PAID) == ""
    assert "user b" in totals_of_users([right[0], Found("b0", "b", count=1, sum=2.5)], PAID)
    assert "user a" in totals_of_users([Found("a2", "a", count=2, sum=8.0), right[1]], PAID)
    assert "user b" in totals_of_users(right[:1], PAID)


def test_a_wrong_sum_of_24_hours_is_found() -> None:
    right = [Found("a0", sum_24h=1.5), Found("a1", sum_24h=4.0), Found("a2", sum_24h=6.5)]
    assert day_of_busiest_user(right, PAID) == ""
    assert "up to a2" in day_of_busiest_user([*right[:2], Found("a2", sum_24h=8.0)], PAID)


def test_without_the_data_set_the_simulator_serves_and_is_named(tmp_path: Path) -> None:
    records = load_records(300, tmp_path / "absent.parquet")
    assert len(records.messages) == 300
    assert "simulator" in records.source
    assert "absent.parquet" in records.source


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time is read from /proc, which is Linux's")
def test_cpu_time_of_a_process_counts_work_and_not_sleep() -> None:
    pid = int(Path("/proc/self").readlink().name)
    before_s, slept_s = cpu_s(pid), time.process_time()
    time.sleep(0.2)
    assert cpu_s(pid) - before_s < 0.15
    while time.process_time() - slept_s < 0.3:
        pass
    assert cpu_s(pid) - before_s >= 0.2


def test_the_hot_path_times_every_stage_of_what_a_worker_does() -> None:
    taken = HotPath().run(records_of(256), 64)
    assert tuple(taken) == STAGES
    assert all(us > 0.0 for us in taken.values())
