"""`fraudstream demo` as a user runs it: a child process, a real worker, a real protocol; only its output is read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudstream.cli.stream_client import SeenVerdict, Tally
from fraudstream.settings import Settings
from fraudstream.training.history import write
from fraudstream.training.simulate import SimulationSpec, simulate

CHECKOUT = Path(__file__).resolve().parents[2]
WITHIN_S = 150.0
READY = "worker ready"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As a newcomer has it: no setting of ours, and a temporary directory in which nothing may stay behind."""
    names = {name.upper() for name in Settings.model_fields}
    (tmp_path / "tmp").mkdir()
    own = {key: value for key, value in os.environ.items() if key.removesuffix("_FILE") not in names}
    return {**own, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(CHECKOUT)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fraudstream.cli.main", "demo", *arguments],
        env=environment, check=False, capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip


def run_with_report(environment: dict[str, str], *arguments: str) -> tuple[str, dict[str, Any]]:
    path = Path(environment["TMPDIR"]).parent / "report.json"
    ended = run(environment, *arguments, "--json", str(path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, json.loads(path.read_text(encoding="utf-8"))


def test_every_transaction_of_a_demo_gets_one_verdict_and_nothing_stays_behind(environment: dict[str, str]) -> None:
    said, report = run_with_report(environment, "--transactions", "6000")
    assert report["transactions"] == report["verdicts"] == 6000
    assert (report["lost"], report["repeated"], report["dead_letters"]) == (0, 0, 0)
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["p99"]
    assert report["events_per_second"] > 0
    detection = report["detection"]
    assert detection["alerts"] == report["alerts"] > 0
    assert detection["frauds"] == 42  # 0.7 % of 6000
    assert 0.4 * 42 < detection["caught"] <= 42
    assert sum(kind["caught"] for kind in detection["campaigns"].values()) == detection["caught"]
    assert "first verdict: user_" in said
    assert said.index("first verdict") < said.index("every transaction has exactly one verdict")
    assert list(Path(environment["TMPDIR"]).glob("fraudstream-demo-*")) == []


def test_a_file_is_streamed_behind_its_first_fifth_with_profiles_from_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "history.csv"
    write(simulate(SimulationSpec(transactions=5000, seed=3)), file)
    said, report = run_with_report(environment, "--input", str(file), "--transactions", "100000", "--rate", "2000")
    assert report["transactions"] == report["verdicts"] == 4000  # the file less its first fifth
    assert "fitting the forest" in said
    assert "filled the profiles of" in said
    # At offset 0 of its partition a user of the first fifth must not be taken for redelivered: none is repeated.
    assert report["repeated"] == 0
    assert report["events_per_second"] < 2200


def test_a_demo_on_kafka_deletes_its_topics(environment: dict[str, str], kafka: Any) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    before = set(client.list_topics(timeout=10).topics)
    _, report = run_with_report(environment, "--transactions", "3000", "--broker", kafka.bootstrap)
    assert report["verdicts"] == 3000
    assert {name for name in client.list_topics(timeout=10).topics if name.startswith("demo-")} - before == set()


def test_a_worker_that_dies_is_shown_with_its_last_lines(environment: dict[str, str]) -> None:
    ended = run({**environment, "FAUST_LOOP": "nonsense"})
    assert ended.returncode == 1
    assert "expected the worker to run, it ended with exit code" in ended.stderr
    assert "nonsense" in ended.stderr


@pytest.fixture
def kept(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fraudstream.cli.main", "demo", "--transactions", "1000", "--keep"],
        env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)  # killed outright it would leave its worker behind
        process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def test_ctrl_c_stops_a_kept_worker_and_removes_its_files(
    kept: subprocess.Popen[str], environment: dict[str, str]
) -> None:
    assert kept.stdout is not None
    console = next(line for line in kept.stdout if "its console: http://" in line).split()[-1]
    with urllib.request.urlopen(console, timeout=20) as page:  # noqa: S310  the demo's own address
        assert b"fraudstream console" in page.read()
    curl = next(line for line in kept.stdout if "curl" in line)
    answer = subprocess.run(["sh", "-c", curl], check=False, capture_output=True, text=True, timeout=20)
    assert json.loads(answer.stdout)["transaction_id"] == "txn_001"
    kept.send_signal(signal.SIGINT)
    started_s = time.monotonic()
    assert kept.wait(30) == 0
    assert time.monotonic() - started_s < 15
    assert list(Path(environment["TMPDIR"]).glob("fraudstream-demo-*")) == []
    port_is_closed = subprocess.run(["sh", "-c", curl], check=False, capture_output=True, text=True, timeout=20)
    assert port_is_closed.returncode != 0


def test_a_verdict_that_comes_twice_counts_as_repeated_and_one_of_others_does_not() -> None:
    tally = Tally()
    tally.note_sent("a", 1.0)
    assert tally.note_verdict("a", 1.5)
    assert not tally.note_verdict("a", 1.6)
    assert not tally.note_verdict("b", 1.7)
    assert (tally.verdicts, tally.repeated, tally.foreign, tally.in_flight) == (1, 1, 1, 0)
    assert tally.latency_ms(50, 99.9) == {"p50": 500.0, "p999": 500.0}


def test_an_id_sent_twice_waits_for_two_verdicts() -> None:
    tally = Tally()
    tally.note_sent("a", 1.0)
    tally.note_sent("a", 2.0)
    assert tally.note_verdict("a", 3.0)
    assert tally.in_flight == 1
    tally.note_dead_letter(b'{"transaction_id":"a"}')
    tally.note_dead_letter(b"not JSON, and not ours")
    assert (tally.in_flight, tally.dead_letters) == (0, 1)


def test_what_a_spectator_reads_of_a_verdict_is_in_every_verdict() -> None:
    from fraudstream.verdict import Verdict

    assert set(SeenVerdict.__struct_fields__) <= set(Verdict.__struct_fields__)
