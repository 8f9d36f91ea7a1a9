"""What is counted of a stream is what happened in it; the catalogue is the one place of names, and light to import."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
from prometheus_client import Histogram
from prometheus_client.parser import text_string_to_metric_families

from fraudstream.adapters import metric_catalogue as catalogue
from fraudstream.adapters.audit_metrics import AuditMetrics
from fraudstream.adapters.instruments import Instruments
from fraudstream.adapters.metrics import Metrics
from fraudstream.agents.batch_metrics import BatchMetrics, StageClock
from fraudstream.detector import load_detector
from fraudstream.pipeline import Outcome, process
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.forest import Forest
from fraudstream.score.lstm import Lstm
from fraudstream.settings import load_settings
from fraudstream.state.profile import EMPTY
from fraudstream.verdict import decode_verdict
from tests.unit.test_pipeline import START_S, message


def samples(instruments: Instruments) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample as Prometheus reads it, by name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(instruments.text().decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("instruments", "process_name"), [(Metrics(), "worker"), (Metrics("api"), "api"), (AuditMetrics(), "sink")]
)
def test_a_process_has_the_metrics_that_the_catalogue_says_and_no_others(
    instruments: Instruments, process_name: str
) -> None:
    found = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
        for family in text_string_to_metric_families(instruments.text().decode())
        if family.name.startswith("fraudstream_")
    }
    declared = {
        (metric.name, metric.kind, metric.doc) for metric in catalogue.METRICS if process_name in metric.processes
    }
    assert found == declared


def test_names_follow_the_conventions() -> None:
    names = [metric.name for metric in catalogue.METRICS]
    assert len(names) == len(set(names))
    for metric in catalogue.METRICS:
        assert metric.name.startswith("fraudstream_")
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert metric.kind in get_args(catalogue.Kind)
        assert not set(metric.label_names) & {"user_id", "transaction_id", "merchant", "le", "job", "instance"}


def test_the_metrics_of_a_light_process_bring_no_model() -> None:
    code = (
        "import sys, fraudstream.adapters.metrics, fraudstream.adapters.audit_metrics\n"
        "sys.exit(' '.join({'torch', 'sklearn', 'aiokafka', 'faust'} & set(sys.modules)) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_batch_of_values_counts_as_one_by_one() -> None:
    values = np.array([0.0, 0.001, 0.0011, 0.3, 10.0, 99.0])
    batch, single = Instruments("worker"), Instruments("worker")
    batch.batch_histogram(catalogue.CHECKPOINT).add(values)
    single_histogram: Histogram = single.histogram(catalogue.CHECKPOINT)
    for value in values:
        single_histogram.observe(value)

    def of(instruments: Instruments) -> dict[tuple[str, tuple[str, ...]], float]:
        return {key: value for key, value in samples(instruments).items() if "checkpoint" in key[0]}

    assert of(batch) == pytest.approx(of(single))


def judge(outcomes: list[Outcome], metrics: Metrics) -> None:
    """Some batches of a few users, a refused message in each and a duplicate of the first in the last."""
    detector, feeding = load_detector(load_settings(contamination=0.9)), BatchMetrics(metrics)
    profiles: dict[tuple[int, bytes], bytes] = {}

    def load(partition: int, key: bytes) -> bytes:
        return profiles.get((partition, key), EMPTY)

    for number in range(4):
        rows = range(number * 10, number * 10 + 10)
        records = [message(at, f"u{at % 3}", timestamp=START_S + 60 * at) for at in rows]
        records.append(message(100 + number, "u0", amount="much"))
        clock = StageClock()
        outcome = process(detector, records, load, clock.done)
        profiles |= outcome.profiles
        feeding.observe_batch(detector, outcome, len(records), clock.elapsed_s())
        feeding.observe_stages(clock)
        feeding.begin_commit()
        feeding.end_commit(0.01)
        outcomes.append(outcome)


def test_the_longest_hold_counts_and_the_time_of_others_is_no_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    clock = StageClock()

    def pass_by(seconds: float, stage: str = "") -> None:
        nonlocal now_s
        now_s += seconds
        if stage:
            clock.done(stage)

    pass_by(0.002, "features")
    pass_by(0.003, "score")
    clock.let_go(0.0)
    pass_by(0.5)
    clock.go_on()
    pass_by(0.001, "decide")
    pass_by(0.200, "commit_wait")
    pass_by(0.001, "observe")
    clock.let_go(0.0)
    assert clock.held_s == pytest.approx(0.005)
    assert sum(clock.seconds) == pytest.approx(0.207)
    assert clock.elapsed_s() == pytest.approx(0.707)


def test_what_is_counted_is_what_happened() -> None:
    metrics, outcomes = Metrics(), list[Outcome]()
    judge(outcomes, metrics)
    found = samples(metrics)
    assert found["fraudstream_transactions_total", ()] == 44
    assert found["fraudstream_verdicts_total", ()] == 40
    assert found["fraudstream_dead_letters_total", ("wrong_type",)] == 4
    kinds = Counter(
        verdict.anomaly_type
        for outcome in outcomes
        for emitted in outcome.verdicts
        if (verdict := decode_verdict(emitted.value)).flagged
    )
    alerts = {labels[0]: value for (name, labels), value in found.items() if name == "fraudstream_alerts_total"}
    assert alerts == kinds
    assert kinds
    for name in ("event_to_verdict", "produce_to_verdict", "produce_to_commit"):
        assert found[f"fraudstream_{name}_seconds_count", ()] == 40
    assert found["fraudstream_batch_records_sum", ()] == 44
    for stage in catalogue.STAGES:
        assert found["fraudstream_stage_seconds_count", (stage,)] == 4
    for stage in ("decode", "load", "features", "score", "decide"):
        assert found["fraudstream_stage_seconds_sum", (stage,)] > 0.0


@pytest.mark.parametrize("member", [Forest, Autoencoder, Lstm])
@pytest.mark.parametrize("raises", [True, False])
def test_a_member_that_raises_or_gives_nan_is_left_out_named_and_counted(
    member: type[Forest | Autoencoder | Lstm], raises: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, score = member.__name__.lower(), member.score

    def fail(*arguments: Any) -> Any:
        if raises:
            raise RuntimeError("no")
        found = score(*arguments)
        whole = isinstance(found, tuple)
        spoiled = np.full_like(found[0] if whole else found, np.nan)
        return (spoiled, *found[1:]) if whole else spoiled

    monkeypatch.setattr(member, "score", fail)
    metrics = Metrics()
    outcomes: list[Outcome] = []
    judge(outcomes, metrics)
    verdicts = [decode_verdict(one.value) for outcome in outcomes for one in outcome.verdicts]
    assert len(verdicts) == 40
    for verdict in verdicts:
        assert verdict.degraded == (name,)
        assert getattr(verdict.members, name) is None
        assert 0.0 <= verdict.anomaly_score <= 1.0
    found = {labels: value for (metric, labels), value in samples(metrics).items() if "degraded" in metric}
    assert found == {(name,): 40}


def test_a_partition_that_went_away_has_no_lag() -> None:
    metrics = Metrics()
    metrics.observe_lag({0: 5, 1: 0}, {0: 2.5})
    metrics.observe_lag({1: 7}, {1: 1.5})
    found = {key: value for key, value in samples(metrics).items() if "consumer_lag" in key[0]}
    assert found == {
        ("fraudstream_consumer_lag_records", ("1",)): 7,
        ("fraudstream_consumer_lag_seconds", ("1",)): 1.5,
    }
