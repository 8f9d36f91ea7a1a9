"""The examples in docs/examples run: installed where entry points are found, on a real worker and embedded broker."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fraudstream.state.profile import view
from fraudstream.testing import embedded_worker
from fraudstream.topics import changelog_topic
from tests.checker import read_topic, until
from tests.checkout import ROOT

EXAMPLES = ROOT / "docs" / "examples"
START_S = 1_764_000_000
HOUR_S = 3600
OPENED_WITHIN_S = 30.0

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_environment", "embedded_broker")]


def stream(users: int, rows: int) -> list[dict[str, Any]]:
    """Small payments, and each user's last one large, at a strange place."""
    ordinary = [
        {
            "transaction_id": f"u{user}-{at}",
            "user_id": f"u{user}",
            "amount": 20.0 + at % 7,
            "merchant": f"shop {at % 3}",
            "category": "food",
            "device_id": f"phone {user}",
            "timestamp": START_S + at * 7 * HOUR_S,
        }
        for at in range(rows)
        for user in range(users)
    ]
    large = {"amount": 4000.0, "merchant": "jeweller", "category": "jewels", "device_id": "stolen"}
    last = [
        ordinary[-1 - user] | large | {"transaction_id": f"large {user}", "user_id": f"u{user}"}
        for user in range(users)
    ]
    return ordinary + [one | {"timestamp": START_S + rows * 7 * HOUR_S} for one in last]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each example package installed into a folder of its own, as pip would."""
    return {name: install(EXAMPLES / name, tmp_path_factory.mktemp(name)) for name in ("own_feature", "own_model")}


def install(source: Path, folder: Path) -> Path:
    copy = folder / "source"  # a build leaves files beside what it builds
    shutil.copytree(source, copy)
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", str(target), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(*command: str, path: Path | None = None, ends_with: int = 0, **environment: str) -> str:
    """What a command of this environment prints, with an installed example beside it."""
    folders = [str(path)] if path else []
    found = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == ends_with, f"{found.stdout}\n{found.stderr}"
    return found.stdout + found.stderr


# The agent


async def cases_in(path: Path, number: int) -> dict[str, str]:
    """user_id by transaction_id, once so many cases are open."""
    deadline = time.monotonic() + OPENED_WITHIN_S
    while True:
        with sqlite3.connect(path) as connection:  # the worker made it before it was ready
            found = dict(connection.execute("SELECT transaction_id, user_id FROM cases").fetchall())
        if len(found) >= number:
            return found
        assert time.monotonic() < deadline, "expected the cases to be opened"
        await asyncio.sleep(0.1)


async def test_the_case_agent_opens_each_alerts_case_once_also_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "cases.sqlite"
    monkeypatch.setenv("CASES_DB", str(database))
    transactions = stream(users=4, rows=12)
    async with embedded_worker("cases", path=[EXAMPLES / "case_agent"], contamination=0.02) as worker:
        await worker.send(transactions)
        verdicts = await worker.verdicts(len(transactions))
        expected = {verdict.transaction_id: verdict.user_id for verdict in verdicts if verdict.flagged}
        assert {f"large {user}" for user in range(4)} <= set(expected)
        assert await cases_in(database, len(expected)) == expected

        async def is_kept() -> bool:
            records = await read_topic(worker.bootstrap, changelog_topic(worker.settings))
            newest = {record.key: view(record.value or b"") for record in records}
            return sum(profile.count for profile in newest.values() if profile) == len(transactions)

        # Who is not in the changelog yet is judged again after the kill as if for the first time.
        await until(is_kept, OPENED_WITHIN_S, "every profile in the changelog")
        await worker.restart()
        again = [one for one in transactions if one["transaction_id"] in expected]
        await worker.send(again)  # duplicates: judged as the first time, so the same alerts come again
        more = {"transaction_id": "one more", "user_id": "u0", "merchant": "m", "amount": 9000.0}
        await worker.send([more | {"timestamp": START_S + 500 * HOUR_S}])
        repeated = 0
        while (verdict := (await worker.verdicts(1))[0]).transaction_id != "one more":
            assert verdict.duplicate
            repeated += verdict.flagged
        assert repeated >= len(again)
        assert verdict.flagged
        assert await cases_in(database, len(expected) + 1) == expected | {"one more": "u0"}
        assert "Traceback" not in worker.log()


# The feature


def test_the_feature_keeps_its_promises_and_is_in_the_catalogue_of_every_process(installed: dict[str, Path]) -> None:
    program = (
        "import json, merchant_tempo\n"
        "from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS\n"
        "from fraudstream import testing\n"
        "testing.check_feature(merchant_tempo.FEATURE)\n"
        "print(json.dumps([FEATURE_NAMES[-1], MODEL_INPUTS[-1].name]))\n"
    )
    printed = run("-c", program, path=installed["own_feature"])
    assert json.loads(printed) == ["merchant_tempo", "merchant_tempo"]


def test_a_model_without_the_feature_is_refused_and_a_model_trained_with_it_tells_it_as_a_reason(
    installed: dict[str, Path], tmp_path: Path
) -> None:
    path, history, model = installed["own_feature"], str(tmp_path / "history.parquet"), str(tmp_path / "model")
    command = ("-m", "fraudstream.cli.main")
    refused = run(*command, "doctor", path=path, ends_with=1)
    assert "merchant_tempo of your own is a model input: train a model" in " ".join(refused.split())
    run(*command, "simulate", "--transactions", "3000", "--users", "40", "--seed", "2", "--out", history, path=path)
    run(*command, "train", "--input", history, "--out", model, path=path)
    assert "merchant_tempo" in json.loads((tmp_path / "model" / "manifest.json").read_text())["model_inputs"]
    comparison = tmp_path / "parity.json"
    run(*command, "parity", "--input", history, "--rows", "1500", "--json", str(comparison), path=path, MODEL_DIR=model)
    found = json.loads(comparison.read_text())
    assert (found["differing"], found["rows"]) == (0, 1500)
    program = (
        "import fraudstream, json, sys\n"
        "detector = fraudstream.Detector.load(sys.argv[1], contamination=0.5)\n"
        "start, day = 1764000000, 86400\n"
        "visits = [start + day * at for at in range(20)] + [start + day * 19 + 60 * at for at in range(1, 4)]\n"
        "rows = [{'transaction_id': str(at), 'user_id': 'u', 'amount': 20.0, 'merchant': 'm', 'timestamp': at}\n"
        "        for at in visits]\n"
        "result = detector.score(rows)\n"
        "column = detector.feature_names.index('merchant_tempo')\n"
        "reasons = {reason.code: reason.text for verdict in result for reason in verdict.reasons}\n"
        "print(json.dumps([result.features[:, column].tolist(), reasons]))\n"
    )
    values, reasons = json.loads(run("-c", program, model, path=path).splitlines()[-1])
    assert values[:20] == [0.0] * 20
    assert values[20] == pytest.approx(math.log((86_400 + HOUR_S) / (60 + HOUR_S)))
    assert "times sooner than usual, with 20.00" in reasons["merchant_tempo"]


# The model


def test_the_model_keeps_the_promises_of_a_scorer(installed: dict[str, Path]) -> None:
    program = (
        "from fraudstream import load_settings, testing\n"
        "import zscore_scorer\n"
        "testing.check_scorer(zscore_scorer.load(load_settings()))\n"
        "print('kept')\n"
    )
    assert run("-c", program, path=installed["own_model"]) == "kept\n"


async def test_a_worker_judges_with_the_installed_model_that_the_setting_names(installed: dict[str, Path]) -> None:
    transactions = stream(users=2, rows=12)
    async with embedded_worker(path=[installed["own_model"]], scorer="zscore", contamination=0.02) as worker:
        await worker.send(transactions)
        verdicts = {verdict.transaction_id: verdict for verdict in await worker.verdicts(len(transactions))}
    assert {verdict.model_version for verdict in verdicts.values()} == {"zscore-1"}
    assert verdicts["large 0"].flagged
    assert verdicts["large 0"].reasons
    assert not verdicts["u0-11"].flagged
