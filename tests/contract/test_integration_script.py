"""scripts/integration_tests.py passes on a real worker, and each check fails when what it looks at is broken."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import declared_topics
from scripts.integration_tests import CHECKS
from tests.breaking_proxy import Break, BreakingProxy, Seen
from tests.servers.ports import free_port
from tests.worker import CHECKOUT, Worker

KEY = "a-key-of-the-test"
SCRIPT = CHECKOUT / "scripts" / "integration_tests.py"

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One ready worker with a key."""
    with pytest.MonkeyPatch.context() as patch, EmbeddedBroker() as broker:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        settings = load_settings(kafka_servers=broker.bootstrap, api_keys=SecretStr(KEY), app_id=uuid.uuid4().hex[:8])
        for topic in declared_topics(settings):
            broker.create_topic(topic.name, topic.partitions)
        with Worker(settings, tmp_path_factory.mktemp("worker")) as worker:
            asyncio.run(worker.ready())
            yield worker


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script without any installed package: it must need none."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)]
    inherited = {name: text for name, text in os.environ.items() if name != "API_KEY"}
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, timeout=120, check=False
    )


def url(worker: Worker) -> str:
    return f"http://127.0.0.1:{worker.port}"


def test_a_running_worker_passes_every_check(worker: Worker, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    ended = run("--endpoint", url(worker), "--api-key", KEY, "--record", "--json", told, "--max-p99-ms", 2_000)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(told.read_text(encoding="utf-8"))
    assert result["passed"] is True
    assert {one["name"]: one["result"] for one in result["checks"]} == dict.fromkeys(CHECKS, "ok")
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"] <= result["latency_ms"]["max"]
    lines = ended.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "ok"] for name in CHECKS]
    assert "\x1b" not in ended.stdout, "no colours where nobody looks"


def test_the_key_may_come_from_the_environment_and_is_not_told(worker: Worker) -> None:
    ended = run("--endpoint", url(worker), "--only", "health", "keys", "predict", API_KEY=KEY)
    assert ended.returncode == 0, ended.stdout
    assert KEY not in ended.stdout + ended.stderr


def test_without_a_key_it_says_what_is_missing(worker: Worker) -> None:
    ended = run("--endpoint", url(worker), "--only", "predict")
    assert ended.returncode == 1
    assert "got 401 (give --api-key)" in ended.stdout


def test_nobody_there_is_a_failure_and_one_line() -> None:
    ended = run("--endpoint", f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 1
    assert ended.stdout.startswith("health")
    assert "Connection refused" in ended.stdout
    assert len(ended.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--endpoint", "localhost:8000"],
        ["--endpoint", "ftp://host"],
        ["--endpoint", "http://host:99999"],
        ["--endpoint", "http://host", "--timeout", "0"],
        ["--endpoint", "http://host", "--api-key", "two\nlines"],
        ["--endpoint", "http://host", "--only", "nothing"],
        ["--endpoint", "http://host", "--requests", "0"],
        ["--endpoint", "http://host", "--json", "/no/such/directory/file"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr
    assert ended.stdout == ""


# Each check, and ways to break what it looks at


def changed(path: str, **fields: Any) -> Break:
    """Answers of one path with other fields; None takes a field away."""

    def breaks(seen: Seen) -> Seen:
        if seen.path != path or seen.status != 200:
            return seen
        kept = {name: value for name, value in (seen.json() | fields).items() if value is not None}
        return seen.with_json(kept)

    return breaks


def answered(path: str, status: int, body: bytes = b"{}", content_type: str = "application/json") -> Break:
    """Another answer at one path."""

    def breaks(seen: Seen) -> Seen:
        if seen.path != path:
            return seen
        return replace(seen, status=status, body=body, headers={**seen.headers, "Content-Type": content_type})

    return breaks


def when(condition: Callable[[Seen], bool], then: Callable[[Seen], Seen]) -> Break:
    """Only some answers."""
    return lambda seen: then(seen) if condition(seen) else seen


def without_header(name: str) -> Break:
    return lambda seen: replace(
        seen, headers={each: text for each, text in seen.headers.items() if each.lower() != name.lower()}
    )


def openapi(change: Callable[[Any], None]) -> Break:
    def breaks(seen: Seen) -> Seen:
        if seen.path != "/openapi.json":
            return seen
        document = seen.json()
        change(document)
        return seen.with_json(document)

    return breaks


def batch(change: Callable[[list[Any]], list[Any]]) -> Break:
    def breaks(seen: Seen) -> Seen:
        if seen.path != "/predict/batch" or seen.status != 200:
            return seen
        return seen.with_json({"results": change(seen.json()["results"])})

    return breaks


class Frozen:
    """Always the first page of metrics."""

    def __init__(self) -> None:
        self.first: Seen | None = None

    def __call__(self, seen: Seen) -> Seen:
        if seen.path != "/metrics":
            return seen
        self.first = self.first or seen
        return self.first


class Forgetful:
    """Another score each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, seen: Seen) -> Seen:
        if seen.path != "/predict" or seen.status != 200:
            return seen
        self.calls += 1
        return seen.with_json(seen.json() | {"confidence": 1 / (1 + self.calls)})


class NowAndThen:
    """A fault in one of fifty answers."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, seen: Seen) -> Seen:
        self.calls += 1
        return replace(seen, status=500, body=b"Internal Server Error") if self.calls % 50 == 0 else seen


class SlowNowAndThen:
    """One answer in twenty comes late."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, seen: Seen) -> Seen:
        self.calls += 1
        await asyncio.sleep(3.0 if self.calls % 20 == 0 else 0)
        return seen


def accepted(reason: str) -> Break:
    """One kind of refusal is a success instead."""
    return when(
        lambda seen: seen.status == 400 and seen.json().get("reason") == reason,
        lambda seen: replace(seen, status=200, headers={**seen.headers, "Content-Type": "application/json"}),
    )


def renamed(before: bytes, after: bytes) -> Break:
    return lambda seen: replace(seen, body=seen.body.replace(before, after))


BREAKS: list[tuple[str, str, Break]] = [
    ("health", "not ready", answered("/health", 503, b'{"ready":false,"problems":["no model"]}')),
    ("health", "ready with problems", changed("/health", problems=["no model"])),
    ("health", "no model", changed("/health", model_version=None)),
    ("health", "not ready by its probe", answered("/health/ready", 503, b"{}")),
    ("health", "not alive", answered("/health/live", 503, b'{"alive":false,"problem":"stuck"}')),
    ("health", "a page", answered("/health", 200, b"<html>", "text/html")),
    ("predict", "down", answered("/predict", 502, b"Bad Gateway", "text/html")),
    ("predict", "as HTML", when(lambda seen: seen.status == 200, lambda seen: replace(seen, headers={}))),
    ("predict", "no score", changed("/predict", anomaly_score=None)),
    ("predict", "score above 1", changed("/predict", anomaly_score=1.5)),
    ("predict", "score as text", changed("/predict", anomaly_score="0.5")),
    ("predict", "of another payment", changed("/predict", transaction_id="another")),
    ("predict", "of another user", changed("/predict", user_id="another")),
    ("predict", "contradiction", changed("/predict", anomaly_score=0.99, threshold=0.9, flagged=False)),
    ("predict", "odd and not flagged", changed("/predict", anomaly_type="new_device")),
    ("predict", "degraded", changed("/predict", degraded=["lstm"])),
    ("predict", "another day", changed("/predict", timestamp="2020-01-01T00:00:00Z")),
    ("predict", "no request id", without_header("X-Request-ID")),
    ("reasons", "none", changed("/predict", reasons=[])),
    ("reasons", "bare", changed("/predict", reasons=[{"code": "unusual_amount"}])),
    ("reasons", "other parts", renamed(b'"contribution":0.', b'"contribution":1.')),
    ("reasons", "another type", changed("/predict", anomaly_type="unusual_sequence_of_letters")),
    (
        "reasons",
        "nothing is flagged",
        changed("/predict", anomaly_score=0.1, flagged=False, anomaly_type="normal", reasons=[]),
    ),
    ("repeats", "another score", Forgetful()),
    ("repeats", "no conflict", when(lambda seen: seen.status == 409, lambda seen: replace(seen, status=200))),
    *(("refusals", reason, accepted(reason)) for reason in ("duplicate_key", "not_finite", "invalid_parameter")),
    ("refusals", "a fault", when(lambda seen: seen.status == 400, lambda seen: replace(seen, status=500))),
    ("refusals", "another reason", renamed(b'"naive_time"', b'"bad_time"')),
    ("refusals", "no detail", when(lambda seen: seen.status == 400, lambda seen: seen.with_json({"reason": "x"}))),
    (
        "refusals",
        "plain JSON",
        when(
            lambda seen: seen.status == 400,
            lambda seen: replace(seen, headers={**seen.headers, "Content-Type": "application/json"}),
        ),
    ),
    ("limits", "any content", when(lambda seen: seen.status == 415, lambda seen: replace(seen, status=200))),
    ("limits", "any size", when(lambda seen: seen.status == 413, lambda seen: replace(seen, status=400))),
    ("limits", "404 as HTML", when(lambda seen: seen.status == 404, lambda seen: replace(seen, headers={}))),
    ("limits", "405 without Allow", without_header("Allow")),
    ("keys", "401 without a hint", without_header("WWW-Authenticate")),
    ("keys", "no problem", when(lambda seen: seen.status == 401, lambda seen: replace(seen, body=b"no"))),
    ("batch", "out of order", batch(lambda results: results[::-1])),
    ("batch", "one too few", batch(lambda results: results[:2])),
    ("batch", "another problem", batch(lambda results: [results[0], {"problem": {"reason": "x"}}, results[2]])),
    (
        "batch",
        "any number",
        when(
            lambda seen: seen.path == "/predict/batch" and seen.status == 400,
            lambda seen: replace(seen, status=200),
        ),
    ),
    ("profiles", "known", when(lambda seen: seen.status == 404, lambda seen: seen.with_json({}, status=200))),
    ("openapi", "3.0", changed("/openapi.json", openapi="3.0.0")),
    ("openapi", "a path is missing", openapi(lambda document: document["paths"].pop("/predict/batch"))),
    ("openapi", "a schema is missing", openapi(lambda document: document["components"]["schemas"].popitem())),
    ("metrics", "another name", renamed(b"fraudstream_ready", b"fraudstream_steady")),
    ("metrics", "nothing counts", Frozen()),
    ("metrics", "JSON", answered("/metrics", 200, b"{}")),
    ("metrics", "not its format", renamed(b"# HELP fraudstream_ready", b"HELP fraudstream_ready")),
    ("privacy", "a page of Faust", when(lambda seen: seen.path == "/graph/", lambda seen: replace(seen, status=200))),
    (
        "record",
        "twice",
        when(
            lambda seen: seen.path.startswith("/profiles/") and seen.status == 200,
            lambda seen: seen.with_json(seen.json() | {"lifetime_count": 2}),
        ),
    ),
    ("latency", "slow", SlowNowAndThen()),
    ("latency", "faults", NowAndThen()),
]


@pytest.mark.parametrize(("name", "what", "breaks"), BREAKS, ids=[f"{name}: {what}" for name, what, _ in BREAKS])
def test_what_is_broken_is_noticed(worker: Worker, name: str, what: str, breaks: Break) -> None:
    with BreakingProxy(worker.port, breaks) as proxy:
        options = ("--only", name, "--record", "--requests", 60, "--max-p99-ms", 2_000)
        ended = run("--endpoint", proxy.url, "--api-key", KEY, *options)
    assert_noticed(ended, name)


@pytest.mark.parametrize("name", CHECKS)
def test_a_proxy_that_breaks_nothing_is_not_blamed(worker: Worker, name: str) -> None:
    with BreakingProxy(worker.port, lambda seen: seen) as proxy:
        options = ("--only", name, "--record", "--max-p99-ms", 2_000)
        ended = run("--endpoint", proxy.url, "--api-key", KEY, *options)
    assert ended.returncode == 0, ended.stdout


def test_every_check_was_seen_to_fail() -> None:
    assert {name for name, _, _ in BREAKS} == set(CHECKS)


def test_a_door_that_lets_everybody_in_is_noticed(worker: Worker) -> None:
    with BreakingProxy(worker.port, lambda seen: seen, {"X-API-Key": KEY}) as proxy:
        assert_noticed(run("--endpoint", proxy.url, "--api-key", KEY, "--only", "keys"), "keys")


def test_a_status_that_is_not_documented_is_noticed(worker: Worker) -> None:
    undocumented = openapi(lambda document: document["paths"]["/predict"]["post"]["responses"].pop("415"))
    with BreakingProxy(worker.port, undocumented) as proxy:
        ended = run("--endpoint", proxy.url, "--api-key", KEY, "--only", "limits", "openapi")
    assert_noticed(ended, "openapi")


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_an_open_page_that_tells_of_a_user_is_noticed(worker: Worker, path: str) -> None:
    users: list[bytes] = []

    def breaks(seen: Seen) -> Seen:
        if seen.path == "/predict":
            users.append(json.loads(seen.asked)["user_id"].encode())
        return replace(seen, body=seen.body + b"\n# " + users[-1]) if seen.path == path and users else seen

    with BreakingProxy(worker.port, breaks) as proxy:
        ended = run("--endpoint", proxy.url, "--api-key", KEY, "--only", "predict", "privacy")
    assert_noticed(ended, "privacy")


@pytest.mark.parametrize("leak", [b"Traceback (most recent call last)", KEY.encode()])
def test_an_error_that_tells_of_the_inside_is_noticed(worker: Worker, leak: bytes) -> None:
    def breaks(seen: Seen) -> Seen:
        return seen.with_json(seen.json() | {"more": leak.decode()}) if seen.status == 400 else seen

    with BreakingProxy(worker.port, breaks) as proxy:
        ended = run("--endpoint", proxy.url, "--api-key", KEY, "--only", "refusals", "privacy")
    assert_noticed(ended, "privacy")


def test_it_waits_until_the_deployment_is_ready(worker: Worker) -> None:
    answers = iter([False] * 5)

    def breaks(seen: Seen) -> Seen:
        return replace(seen, status=503) if seen.path == "/health" and next(answers, True) is False else seen

    with BreakingProxy(worker.port, breaks) as proxy:
        ended = run("--endpoint", proxy.url, "--only", "health", "--wait", 30)
    assert ended.returncode == 0, ended.stdout


def assert_noticed(ended: subprocess.CompletedProcess[str], name: str) -> None:
    """The last check failed in plain words, and nothing else did."""
    assert ended.returncode == 1, ended.stdout + ended.stderr
    *others, last = ended.stdout.splitlines()
    assert [line.split()[1] for line in others] == ["ok"] * len(others)
    assert last.split()[:2] == [name, "FAILED"], ended.stdout
    assert "expected " in last
    assert KEY not in ended.stdout
    assert ended.stderr == ""
