"""Each alert fires when what it is about happens, says so in words, stays silent otherwise, and has its runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkout import ROOT
from tests.conftest import missing

RULES = ROOT / "k8s" / "fraudstream" / "rules" / "fraudstream.rules.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
NAMESPACE = 'namespace="fraud"'
WORKER = f'{NAMESPACE},instance="worker-0"'


@dataclass(frozen=True)
class Case:
    """What happens, when it is looked at, and what is then told.

    Attributes:
        bad: series that make the alert fire, in promtool's notation, a value each `interval`.
        good: series that are near it and must not.
        at: when it fires at the latest.
    """

    alert: str
    bad: dict[str, str]
    good: dict[str, str]
    at: str
    summary: str
    labels: dict[str, str] = field(default_factory=lambda: {"namespace": "fraud"})
    interval: str = "1m"


VERDICTS = {f"fraudstream_verdicts_total{{{WORKER}}}": "0+600x2000"}
TRANSACTIONS = {f"fraudstream_transactions_total{{{WORKER}}}": "0+600x2000"}
POSITIVES = "fraudstream_label_outcomes_total"


def buckets(name: str, below: float, labels: str = WORKER) -> dict[str, str]:
    """A histogram whose observations are all just below a bound."""
    bounds = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
    found = {f'{name}_bucket{{{labels},le="{at:g}"}}': "0+60x2000" if at >= below else "0x2000" for at in bounds}
    return {**found, f'{name}_bucket{{{labels},le="+Inf"}}': "0+60x2000"}


def counted(name: str, per_minute: float, labels: str = WORKER) -> dict[str, str]:
    """A counter that grows steadily."""
    return {f"{name}{{{labels}}}": f"0+{per_minute:g}x2000"}


INSTANCE = {"namespace": "fraud", "instance": "worker-0"}
CASES = (
    Case(
        "FraudstreamNoWorker",
        {'fraudstream_build_info{process="sink"}': "1x30"},
        {'fraudstream_build_info{process="worker"}': "1x30"},
        "5m",
        "No worker is seen by Prometheus; payments are not judged.",
        {"process": "worker"},
    ),
    Case(
        "FraudstreamStalled",
        {
            f'fraudstream_consumer_lag_records{{{WORKER},partition="0"}}': "40x30",
            f"fraudstream_transactions_total{{{WORKER}}}": "500x30",
        },
        {f'fraudstream_consumer_lag_records{{{WORKER},partition="0"}}': "40x30", **TRANSACTIONS},
        "6m",
        "40 transactions wait and none is judged.",
    ),
    Case(
        "FraudstreamBehind",
        {f'fraudstream_consumer_lag_seconds{{{WORKER},partition="0"}}': "90x30"},
        {f'fraudstream_consumer_lag_seconds{{{WORKER},partition="0"}}': "59x30"},
        "6m",
        "Payments wait 1m 30s for their verdict.",
    ),
    Case(
        "FraudstreamVerdictsSlow",
        buckets("fraudstream_produce_to_commit_seconds", 2.5),
        buckets("fraudstream_produce_to_commit_seconds", 0.5),
        "20m",
        "One verdict in a hundred takes longer than 2.485s.",
    ),
    Case(
        "FraudstreamNotReady",
        {f"fraudstream_ready{{{WORKER}}}": "0x30", f"fraudstream_restoring{{{WORKER}}}": "0x30"},
        {f"fraudstream_ready{{{WORKER}}}": "0x30", f"fraudstream_restoring{{{WORKER}}}": "1x30"},
        "6m",
        "worker-0 runs and is not ready.",
        INSTANCE,
    ),
    Case(
        "FraudstreamRestoreSlow",
        {f"fraudstream_restoring{{{WORKER}}}": "1x30"},
        {f"fraudstream_restoring{{{WORKER}}}": "1x10 0x20"},
        "16m",
        "worker-0 has been restoring profiles for more than a quarter of an hour.",
        INSTANCE,
    ),
    Case(
        "FraudstreamStoreDamaged",
        {f"fraudstream_stores_damaged_total{{{WORKER}}}": "2x30"},
        {f"fraudstream_stores_damaged_total{{{WORKER}}}": "0x30"},
        "1m",
        "worker-0 has found 2 stores damaged since its start and restored them.",
        INSTANCE,
    ),
    Case(
        "FraudstreamRestarting",
        {
            f"process_start_time_seconds{{{WORKER}}}": "1x3 2x3 3x3 4x20",
            f'fraudstream_build_info{{{WORKER},process="worker"}}': "1x30",
        },
        {
            f"process_start_time_seconds{{{WORKER}}}": "1x3 2x3 3x23",
            f'fraudstream_build_info{{{WORKER},process="worker"}}': "1x30",
        },
        "13m",
        "worker-0 started 3 times within a quarter of an hour.",
        INSTANCE,
    ),
    Case(
        "FraudstreamEventLoopBlocked",
        buckets("fraudstream_event_loop_lag_seconds", 1),
        buckets("fraudstream_event_loop_lag_seconds", 0.05),
        "20m",
        "worker-0 answers late: its event loop is held for 995ms.",
        {"instance": "worker-0"},
    ),
    Case(
        "FraudstreamDeadLetters",
        {**TRANSACTIONS, **counted("fraudstream_dead_letters_total", 12, f'{WORKER},reason="bad_json"')},
        {**TRANSACTIONS, **counted("fraudstream_dead_letters_total", 3, f'{WORKER},reason="bad_json"')},
        "25m",
        "2% of the messages cannot be judged and become dead letters.",
    ),
    Case(
        "FraudstreamLateEvents",
        {**VERDICTS, **counted("fraudstream_late_total", 60)},
        {**VERDICTS, **counted("fraudstream_late_total", 20)},
        "40m",
        "10% of the transactions come later than ALLOWED_LATENESS_S.",
    ),
    Case(
        "FraudstreamDuplicates",
        {**VERDICTS, **counted("fraudstream_duplicates_total", 60)},
        {**VERDICTS, **counted("fraudstream_duplicates_total", 20)},
        "40m",
        "10% of the transactions were seen before.",
    ),
    Case(
        "FraudstreamDegraded",
        {**VERDICTS, **counted("fraudstream_degraded_total", 30, f'{WORKER},part="lstm"')},
        {**VERDICTS, **counted("fraudstream_degraded_total", 3, f'{WORKER},part="lstm"')},
        "15m",
        "5% of the verdicts are made without lstm.",
        {"namespace": "fraud", "part": "lstm"},
    ),
    Case(
        "FraudstreamAlertShareHigh",
        {**VERDICTS, f'fraudstream_alerts_total{{{WORKER},anomaly_type="new_device"}}': "0+60x300 18000+180x300"},
        {**VERDICTS, **counted("fraudstream_alerts_total", 60, f'{WORKER},anomaly_type="new_device"')},
        "5h45m",
        "30% of the payments are flagged, more than twice yesterday's share.",
    ),
    Case(
        "FraudstreamAlertShareLow",
        {**VERDICTS, f'fraudstream_alerts_total{{{WORKER},anomaly_type="new_device"}}': "0+60x300 18000+6x300"},
        {**VERDICTS, f'fraudstream_alerts_total{{{WORKER},anomaly_type="new_device"}}': "0+60x300 18000+20x300"},
        "5h45m",
        "Only 1% of the payments are flagged, less than a fifth of yesterday's share.",
    ),
    Case(
        "FraudstreamScoreDrift",
        {f"fraudstream_score_psi{{{WORKER}}}": "0.3x90"},
        {f"fraudstream_score_psi{{{WORKER}}}": "0.2x90"},
        "65m",
        "Scores are not spread as in training any more (population stability index 0.30).",
    ),
    Case(
        "FraudstreamFeatureDrift",
        {f'fraudstream_feature_psi{{{WORKER},feature="amount_z"}}': "0.3x400"},
        {f'fraudstream_feature_psi{{{WORKER},feature="amount_z"}}': "0.2x400"},
        "6h5m",
        "amount_z is not spread as in training any more (population stability index 0.30).",
        {"namespace": "fraud", "feature": "amount_z"},
    ),
    Case(
        "FraudstreamModelNotTaken",
        {f"fraudstream_model_reload_failures_total{{{WORKER}}}": "0x5 1x20"},
        {f"fraudstream_model_reload_failures_total{{{WORKER}}}": "1x30"},
        "10m",
        "worker-0 could not load the promoted model and goes on with the old one.",
        INSTANCE,
    ),
    Case(
        "FraudstreamModelsDiffer",
        {
            f'fraudstream_model_info{{{WORKER},model_version="m-1"}}': "1x90",
            f'fraudstream_model_info{{{NAMESPACE},instance="worker-1",model_version="m-2"}}': "1x90",
        },
        {
            f'fraudstream_model_info{{{WORKER},model_version="m-1"}}': "1x90",
            f'fraudstream_model_info{{{NAMESPACE},instance="worker-1",model_version="m-1"}}': "1x90",
        },
        "65m",
        "2 versions of the model judge side by side.",
    ),
    Case(
        "FraudstreamPrecisionFell",
        {
            f'{POSITIVES}{{{NAMESPACE},outcome="true_positive"}}': "0+360x840 302400+60x500",
            f'{POSITIVES}{{{NAMESPACE},outcome="false_positive"}}': "0+240x840 201600+540x500",
        },
        {
            f'{POSITIVES}{{{NAMESPACE},outcome="true_positive"}}': "0+360x1340",
            f'{POSITIVES}{{{NAMESPACE},outcome="false_positive"}}': "0+240x1340",
        },
        "1020h",
        "10% of the labelled alerts were fraud, less than half of the weeks before.",
        interval="1h",
    ),
    Case(
        "FraudstreamHttpErrors",
        {
            **counted("fraudstream_http_requests_total", 60, f'{WORKER},route="/predict",status="200"'),
            **counted("fraudstream_http_requests_total", 60, f'{WORKER},route="/predict",status="500"'),
        },
        {
            **counted("fraudstream_http_requests_total", 60, f'{WORKER},route="/predict",status="200"'),
            **counted("fraudstream_http_requests_total", 60, f'{WORKER},route="/health",status="503"'),
        },
        "15m",
        "50% of the requests are answered with an error of ours.",
    ),
    Case(
        "FraudstreamPredictSlow",
        buckets("fraudstream_predict_seconds", 0.25),
        buckets("fraudstream_predict_seconds", 0.05),
        "20m",
        "One /predict in a hundred takes longer than 248.5ms.",
    ),
    Case(
        "FraudstreamCacheFailing",
        counted("fraudstream_cache_failures_total", 2, f'{WORKER},operation="write"'),
        {f'fraudstream_cache_failures_total{{{WORKER},operation="write"}}': "7x30"},
        "15m",
        "Redis cannot be reached; the stream goes on, /predict may judge by old profiles.",
    ),
    Case(
        "FraudstreamSinkDrops",
        {f'fraudstream_sink_verdicts_total{{{WORKER},sink="cases",outcome="dropped"}}': "0x5 100x20"},
        counted("fraudstream_sink_verdicts_total", 60, f'{WORKER},sink="cases",outcome="delivered"'),
        "10m",
        "The sink cases lost 100 verdicts in ten minutes.",
        {"namespace": "fraud", "sink": "cases"},
    ),
    Case(
        "FraudstreamNoAudit",
        {'fraudstream_build_info{process="worker"}': "1x30"},
        {'fraudstream_build_info{process="sink"}': "1x30"},
        "6m",
        "No audit sink is seen by Prometheus; verdicts wait in Kafka for as long as their topic keeps them.",
        {"process": "sink"},
    ),
    Case(
        "FraudstreamAuditFailing",
        counted("fraudstream_audit_failures_total", 3),
        {f"fraudstream_audit_failures_total{{{WORKER}}}": "4x30"},
        "15m",
        "The database does not take the audit trail.",
    ),
    Case(
        "FraudstreamAuditBehind",
        {f"fraudstream_audit_lag_records{{{WORKER}}}": "250000x30"},
        {f"fraudstream_audit_lag_records{{{WORKER}}}": "90000x30"},
        "20m",
        "250k verdicts are not in the audit trail yet.",
    ),
)


def judged(tmp_path: Path, case: Case, series: dict[str, str], *, fires: bool) -> None:
    """promtool's own judgement on one case."""
    told = {
        "exp_labels": {"severity": ALERTS[case.alert]["labels"]["severity"], **case.labels},
        "exp_annotations": {"summary": case.summary, "runbook": ALERTS[case.alert]["annotations"]["runbook"]},
    }
    looked_at = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": [told] if fires else []}
    one = {
        "interval": case.interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [looked_at],
    }
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": case.interval, "tests": [one]}))
    promtool = shutil.which("promtool") or missing("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_and_says_what_is_wrong(case: Case, tmp_path: Path) -> None:
    judged(tmp_path, case, case.bad, fires=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_stays_silent_when_all_is_well(case: Case, tmp_path: Path) -> None:
    judged(tmp_path, case, case.good, fires=False)


def test_every_alert_is_tested() -> None:
    assert {case.alert for case in CASES} == set(ALERTS)


def test_every_alert_has_a_runbook_that_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    sections = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    told = {section.partition("\n")[0].strip(): section for section in sections}
    assert set(ALERTS) <= set(told)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
        assert f"({rule['labels']['severity']})" in told[name], name
        for part in ("**Means.**", "**Look at.**", "**Do.**"):
            assert part in told[name], f"{name}: {part}"
