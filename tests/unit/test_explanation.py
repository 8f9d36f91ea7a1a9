"""A verdict is told as it was then, and judged again exactly where the evidence holds the user's whole past."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import main
from fraudstream.detector import load_detector
from fraudstream.errors import EvidenceError, RefusedInput
from fraudstream.evidence import Evidence, features_of
from fraudstream.explanation import Explanation, as_json, explain, find_model
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.pipeline import Detector
from fraudstream.score.artifact import DEFAULT_MODEL
from fraudstream.score.registry import Registry
from fraudstream.settings import Settings, load_settings
from fraudstream.what_if import parse_change, what_if
from tests.evidence_store import START_S, SqliteEvidence, message

THEFT, LATE_ONE, AFTER = "t150", "t151", "t152"

pytestmark = pytest.mark.usefixtures("plain_environment")


@cache
def detector() -> Detector:
    return load_detector(Settings.model_construct())


def stored(path: Path) -> SqliteEvidence:
    """150 payments of anna, some of bert between them, a theft, one that came late, and one more."""
    store = SqliteEvidence(path)
    daily = [message(k, "bert" if k % 10 == 9 else "anna") for k in range(150)]
    theft = message(150, amount=2480.0, merchant="jeweller", category="jewelry", device_id="unknown phone")
    late = message(151, timestamp=START_S + 140 * 21_600 + 60)
    store.add(detector(), [*daily, theft, late, message(152)])
    return store


@cache
def full() -> SqliteEvidence:
    return stored(Path(mkdtemp()) / "evidence.sqlite3")


def found(transaction_id: str = THEFT, store: SqliteEvidence | None = None) -> Explanation:
    return asyncio.run(explain(store or full(), transaction_id, load_settings()))


def test_a_verdict_is_told_with_its_features_and_its_model() -> None:
    theft = found()
    assert theft.verdict.flagged
    assert theft.transaction.amount == 2480.0
    assert [one.name for one in theft.features] == list(FEATURE_NAMES)
    assert [one.value for one in theft.features] == features_of(theft.evidence.features).tolist()
    assert {one.name: one.unit for one in theft.features}["sum_24h"] == "currency"
    assert theft.model.directory == DEFAULT_MODEL
    assert theft.model.manifest is not None
    assert theft.model.manifest.model_version == theft.verdict.model_version


def test_the_history_is_the_users_own_30_days_before_the_newest_first() -> None:
    theft = found()
    times = [one.event_time for one in theft.history]
    assert times == sorted(times, reverse=True)
    month_before = theft.verdict.event_time.timestamp() - 30 * 86_400
    expected = [k for k in range(149, -1, -1) if k % 10 != 9 and START_S + k * 21_600 > month_before]
    assert [one.transaction_id for one in theft.history] == [f"t{k}" for k in expected]
    assert theft.history[0].amount == 20.0 + 148 % 11
    assert THEFT in {one.transaction_id for one in found(AFTER).history}
    assert found("t0").history == ()


def test_what_there_is_no_evidence_of_is_said() -> None:
    with pytest.raises(EvidenceError, match=r"^nobody: expected a transaction with evidence, there is none"):
        found("nobody")


def test_evidence_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    class Damaged(SqliteEvidence):
        async def find(self, transaction_id: str) -> Evidence | None:
            one = await super().find(transaction_id)
            return None if one is None else replace(one, verdict=b"{}")

    store = Damaged(stored(tmp_path / "e").path)
    with pytest.raises(EvidenceError, match=r"^t150: expected a verdict and a transaction"):
        found(THEFT, store)


def test_the_model_is_found_in_the_registry_too(tmp_path: Path) -> None:
    version = detector().model_version
    Registry(tmp_path / "registry").add(DEFAULT_MODEL)
    in_registry = find_model(version, load_settings(model_registry=tmp_path / "registry"))
    assert in_registry.directory == tmp_path / "registry" / "versions" / version
    in_package = find_model(version, load_settings(model_registry=tmp_path / "none"))
    assert in_package.directory == DEFAULT_MODEL
    gone = find_model("m-gone", load_settings(model_dir=tmp_path))
    assert (gone.directory, gone.manifest) == (None, None)
    assert gone.looked_in == (f"MODEL_DIR={tmp_path}", "the package")


@pytest.mark.parametrize("transaction_id", ["t0", "t75", THEFT, LATE_ONE, AFTER])
def test_with_the_whole_past_the_replay_is_exact(transaction_id: str) -> None:
    one = found(transaction_id)
    again = what_if(detector(), one, {})
    assert again.is_exact
    assert again.replayed == again.changed == one.verdict
    assert again.payments == again.payments_known or transaction_id == LATE_ONE


def test_another_amount_gives_another_verdict() -> None:
    theft = found()
    asked = what_if(detector(), theft, {"amount": 25.0, "device_id": "phone", "merchant": "shop 1", "category": "food"})
    assert asked.is_exact
    assert not asked.changed.flagged
    assert asked.changed.anomaly_score < asked.recorded_score
    assert asked.changed.transaction_id == theft.verdict.transaction_id
    without = what_if(detector(), theft, {"device_id": None})
    assert "new_device" in {reason.code for reason in asked.replayed.reasons}
    assert "new_device" not in {reason.code for reason in without.changed.reasons}


def test_a_replay_of_a_part_of_the_past_says_that_it_is_not_exact(tmp_path: Path) -> None:
    store = stored(tmp_path / "part.sqlite3")
    for k in range(100):
        store.remove(f"t{k}")
    asked = what_if(detector(), found(THEFT, store), {"amount": 25.0})
    assert not asked.is_exact
    assert asked.payments < asked.payments_known == 135


def test_a_change_that_cannot_be_scored_is_refused() -> None:
    with pytest.raises(RefusedInput, match="amount: expected a number from 0"):
        what_if(detector(), found(), {"amount": -1.0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount=50", ("amount", 50.0)),
        ("merchant=a=b", ("merchant", "a=b")),
        ("device_id=", ("device_id", None)),
        ("timestamp=1764000000", ("timestamp", 1764000000.0)),
        ("timestamp=2025-11-24T16:00:00Z", ("timestamp", "2025-11-24T16:00:00Z")),
    ],
)
def test_a_change_is_read(text: str, expected: tuple[str, Any]) -> None:
    assert parse_change(text) == expected


@pytest.mark.parametrize("text", ["amount", "amount=much", "user_id=bert", "transaction_id=1", "=5"])
def test_a_change_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_change(text)


# The command


@pytest.fixture
def store_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command opens this file's store."""

    @asynccontextmanager
    async def open_store(_settings: Settings) -> AsyncIterator[SqliteEvidence]:
        yield full()

    module = ModuleType("fraudstream.adapters.audit_store")
    module.open_store = open_store  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)], env=environment)


@pytest.mark.usefixtures("store_in_place")
def test_the_command_shows_the_record(tmp_path: Path) -> None:
    shown = run(THEFT, "--json", tmp_path / "told.json")
    assert shown.exit_code == 0, shown.output
    theft = found()
    for words in (
        "t150: 2,480.00 by anna at jeweller",
        "flagged: score",
        *(reason.text for reason in theft.verdict.reasons),
        *FEATURE_NAMES,
        "autoencoder",
        f"{len(theft.history)} payments, ",
        theft.verdict.model_version,
        "partition 0, offset 150",
        "ab" * 32,
        "█",
    ):
        assert words in shown.output
    told = json.loads((tmp_path / "told.json").read_text())
    assert told == json.loads(json.dumps(as_json(theft))) | {"what_if": None}
    assert told["verdict"] == json.loads(theft.evidence.verdict)
    assert datetime.fromisoformat(told["history"][0]["event_time"]) == theft.history[0].event_time.astimezone(UTC)


@pytest.mark.usefixtures("store_in_place")
def test_the_command_says_what_would_be(tmp_path: Path) -> None:
    shown = run(THEFT, "--what-if", "amount=25", "--what-if", "device_id=", "--json", tmp_path / "told.json")
    assert shown.exit_code == 0, shown.output
    assert "With amount=25.0, device_id=absent: score" in shown.output
    assert "Exact: 135 earlier payments were replayed, of 135 that the profile knew" in shown.output
    told = json.loads((tmp_path / "told.json").read_text())["what_if"]
    assert told["is_exact"]
    assert told["replayed_score"] == told["recorded_score"] == found().verdict.anomaly_score
    assert told["verdict"]["anomaly_score"] < told["recorded_score"]


@pytest.mark.usefixtures("store_in_place")
def test_the_command_fails_in_one_line() -> None:
    missing = run("nobody")
    assert (missing.exit_code, missing.output.count("\n")) == (1, 1)
    wrong = run(THEFT, "--what-if", "user_id=bert")
    assert wrong.exit_code == 2
    assert "expected FIELD=VALUE with a field of amount" in wrong.output


@pytest.mark.usefixtures("store_in_place")
def test_other_settings_than_those_of_the_verdict_are_noticed() -> None:
    shown = run(THEFT, "--what-if", "amount=25", ENSEMBLE_WEIGHTS="0,0,1")
    assert shown.exit_code == 0, shown.output
    assert "Only approximate: 135 earlier payments were replayed, of 135 that the profile knew" in shown.output
