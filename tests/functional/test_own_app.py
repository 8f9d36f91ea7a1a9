"""An app of one's own on a real worker: its agents and sinks get every verdict, typed, and the stream does not wait."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fraudstream.testing import embedded_worker
from tests.functional.test_examples import stream

APP = """
import asyncio, json, os
from pathlib import Path
from fraudstream import OwnFeature, Scored, create_app

FOLDER = Path(os.environ["SEEN_DIR"])


def write(name, line):
    with (FOLDER / name).open("a") as file:
        file.write(json.dumps(line) + "\\n")


class Keeps:
    async def __call__(self, verdicts):
        write("sink", [[verdict.transaction_id, verdict.anomaly_score] for verdict in verdicts])

    async def close(self):
        write("sink", "closed")


async def hangs(verdicts):
    await asyncio.sleep(3600)


async def breaks(verdicts):
    raise RuntimeError("the case tool is down")


class ByAmount:
    name, version, needs = "by_amount", "7", ("log_amount", "visits_here")

    def score(self, features, sequences):
        return Scored(features[:, 0].astype(float) / 20.0, evidence=features.astype(float))


def visits(event, history):
    return float((history.merchants == event.merchant).sum())


feature = OwnFeature("visits_here", "transactions", "n", "Earlier payments at this merchant.", "unusual_merchant",
    risk=None, compute=visits, oracle=lambda event, earlier: visits)

app = create_app(sinks=[Keeps(), hangs, breaks], scorer=ByAmount(), features=[feature])


@app.agent(app.verdicts)
async def look(verdicts):
    async for key, verdict in verdicts.items():
        write("agent", [key, verdict.transaction_id, verdict.anomaly_score])
"""


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(path: Path, number: int) -> list[Any]:
    deadline = time.monotonic() + 30.0
    while len(found := lines(path)) < number:
        assert time.monotonic() < deadline, f"expected {number} lines in {path.name}, got {len(found)}"
        await asyncio.sleep(0.1)
    return found


async def counted(url: str, **least: int) -> dict[tuple[str, str], float]:
    """Verdicts by sink and outcome, once each sink has as many: it counts them after its call."""
    deadline = time.monotonic() + 30.0
    while True:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        count = {
            (sample.labels["sink"], sample.labels["outcome"]): sample.value
            for family in families
            for sample in family.samples
            if sample.name == "fraudstream_sink_verdicts_total"
        }
        by_sink = {name: sum(value for (sink, _), value in count.items() if sink == name) for name in least}
        if all(by_sink[name] >= number for name, number in least.items()):
            return count
        assert time.monotonic() < deadline, f"expected {least}, got {count}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_agents_and_sinks_of_ones_own_get_every_verdict_and_hold_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_environment: None, embedded_broker: object
) -> None:
    (tmp_path / "own_app.py").write_text(APP, encoding="utf-8")
    monkeypatch.setenv("SEEN_DIR", str(tmp_path))
    transactions = stream(users=3, rows=20)
    number = len(transactions)
    async with embedded_worker("own_app", path=[tmp_path], sink_queue_verdicts=number) as worker:
        await worker.send(transactions)
        verdicts = await worker.verdicts(number)
        expected = {verdict.transaction_id: verdict.anomaly_score for verdict in verdicts}
        assert len(expected) == number
        assert {verdict.model_version for verdict in verdicts} == {"by_amount-7"}
        by_agent = await until(tmp_path / "agent", number)
        await worker.send(transactions)  # duplicates: the sink that hangs has no room for them
        assert all(verdict.duplicate for verdict in await worker.verdicts(number))
        await until(tmp_path / "agent", 2 * number)
        taken = 2 * number
        count = await counted(worker.url, **{"Keeps-0": taken, "hangs-1": number, "breaks-2": taken})
        log = worker.log()
    assert {name: score for _, name, score in by_agent} == expected
    assert {key for key, _, _ in by_agent} == {"u0", "u1", "u2"}
    *by_sink, closed = lines(tmp_path / "sink")
    assert closed == "closed"
    assert {name: score for batch in by_sink for name, score in batch} == expected
    assert count["Keeps-0", "delivered"] == taken
    assert count["hangs-1", "dropped"] == number
    assert count["breaks-2", "failed"] == taken
    assert "the case tool is down" in log
