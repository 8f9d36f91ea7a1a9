"""The benchmark's arithmetic and its table; what it measures is measured by running it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.cases import CASES, FLOOR, FULL_PATH, STOCK, STOCK_UVLOOP
from benchmarks.measure import cpu_s
from benchmarks.records import load_records
from benchmarks.report import Run, as_json, markdown_page, markdown_table, verdict_line
from benchmarks.summary import Sample, Spread, order_of_round, summarise
from fraudstream.machine import Machine

RECORDS = 1_000


def sample(cpu_us: float, events_per_second: float = 10_000.0, load: float = 1.0) -> Sample:
    return Sample(RECORDS, cpu_us * RECORDS / 1e6, RECORDS / events_per_second, load)


def run_of(full_path_us: Sequence[float], samples: Mapping[str, Sequence[Sample]] | None = None) -> Run:
    rounds = len(full_path_us)
    return Run(
        date=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        machine=Machine("a processor", 2, 8.0, "Linux 6", "3.11.7", {"torch": "2.5.0"}),
        broker="a broker",
        partitions=4,
        source="the simulator's",
        mean_bytes=250.4,
        records=RECORDS,
        warm_up=10,
        settle_s=0.3,
        samples=samples
        or {
            FLOOR: [sample(2.0, load=0.4)] * rounds,
            STOCK: [sample(80.0)] * rounds,
            STOCK_UVLOOP: [sample(60.0, load=2.6)] * rounds,
            FULL_PATH: [sample(us, 12_345.0) for us in full_path_us],
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


def test_the_target_is_half_of_faust_as_it_comes() -> None:
    assert run_of([40.0] * 3).reached
    missed = run_of([41.0] * 3)
    assert not missed.reached
    assert "missed" in verdict_line(missed)


def test_one_noisy_round_does_not_decide() -> None:
    assert run_of([20.0, 90.0, 21.0]).reached


def test_the_table_has_a_row_for_each_case_with_median_and_spread() -> None:
    lines = markdown_table(run_of([20.0, 24.0, 22.0]).figures).splitlines()
    assert len(lines) == 2 + len(CASES)
    assert {line.count("|") for line in lines} == {6}
    assert lines[-1].endswith("| 22.0 (20.0–24.0) | 12,345 (12,345–12,345) | 0.28 (0.25–0.30) | 0.37 (0.33–0.40) |")


def test_the_page_tells_date_machine_load_and_source() -> None:
    page = markdown_page(run_of([22.0]))
    for fact in ("2026-01-02 03:04 UTC", "a processor, 2 cores, 8 GiB", "torch 2.5.0", "0.4 to 2.6", "the simulator's"):
        assert fact in page
    assert markdown_table(run_of([22.0]).figures) in page


def test_the_json_result_survives_a_round_trip() -> None:
    found = json.loads(json.dumps(as_json(run_of([22.0, 24.0]))))
    assert found["cases"][FULL_PATH]["cpu_us_per_event"] == {"median": 23.0, "min": 22.0, "max": 24.0}
    assert [each["records"] for each in found["cases"][FULL_PATH]["samples"]] == [RECORDS, RECORDS]
    assert found["target"] == {
        "ratio": 0.5,
        "measured": {STOCK: pytest.approx(23 / 80), STOCK_UVLOOP: pytest.approx(23 / 60)},
        "reached": True,
    }


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
