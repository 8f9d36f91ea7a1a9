"""The web view of a running worker, asked over HTTP: its answers are a contract with whoever calls it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.dead_letter import REASONS
from fraudstream.decide.codes import REASON_CODES
from fraudstream.detector import load_detector
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import changelog_topic, declared_topics
from tests.checker import end_offsets, ordered_producer, produce, read_topic, until
from tests.http_service import Client, Process
from tests.worker import Answer, Worker

JSON = {"Content-Type": "application/json"}
EXAMPLE = {
    "transaction_id": "txn_001",
    "user_id": "user_123",
    "amount": 45.67,
    "merchant": "Starbucks",
    "category": "food",
    "location": "New York",
    "device_id": "device_1234",
}
ANOMALY_TYPES = {"normal", *REASON_CODES}
EXIT_SETTINGS = 78
LIMIT_S = 90.0

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One ready worker for all questions of this module."""
    with pytest.MonkeyPatch.context() as patch, EmbeddedBroker() as broker:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        settings = load_settings(kafka_servers=broker.bootstrap, app_id=f"t{uuid.uuid4().hex[:8]}")
        for topic in declared_topics(settings):
            broker.create_topic(topic.name, topic.partitions)
        with Worker(settings, tmp_path_factory.mktemp("http")) as worker:
            asyncio.run(worker.ready())
            yield worker


def post(worker: Worker, body: bytes | dict[str, Any], **headers: str) -> Answer:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    return worker.call(
        "POST", "/predict", data, JSON | {name.replace("_", "-"): text for name, text in headers.items()}
    )


def assert_error(answer: Answer, status: int, reason: str) -> dict[str, Any]:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert said["reason"] == reason
    assert said["status"] == status
    assert said["request_id"] == answer.headers["X-Request-ID"]
    assert said["detail"]
    return said


def test_predict_answers_everything_that_the_contract_names(worker: Worker) -> None:
    before = time.time()
    answer = post(worker, EXAMPLE)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    said = answer.json()
    assert said["transaction_id"] == "txn_001"
    assert said["user_id"] == "user_123"
    assert 0 <= said["anomaly_score"] <= 1
    assert 0 <= said["threshold"] <= 1
    assert 0 <= said["confidence"] <= 1
    assert said["anomaly_type"] in ANOMALY_TYPES
    assert isinstance(said["explanation"], str)
    assert said["explanation"]
    assert 0 < said["processing_time_ms"] < 10_000
    assert said["timestamp"].endswith("Z")
    assert before - 1 <= datetime.fromisoformat(said["timestamp"]).timestamp() <= time.time() + 1
    assert said["flagged"] is (said["anomaly_score"] > said["threshold"])
    assert isinstance(said["reasons"], list)
    assert isinstance(said["model_version"], str)
    assert said["model_version"] == worker.call("GET", "/health").json()["model_version"]
    if not said["flagged"]:
        assert said["anomaly_type"] == "normal"
        assert said["explanation"] == "No specific risk factors identified"


def test_a_flagged_answer_names_its_leading_reason(worker: Worker) -> None:
    said = post(worker, EXAMPLE | {"transaction_id": "large", "amount": 4_000_000, "timestamp": 1_767_497_613}).json()
    assert said["flagged"], said
    assert said["anomaly_type"] == said["reasons"][0]["code"]
    assert said["anomaly_type"] in ANOMALY_TYPES - {"normal"}
    assert said["explanation"] != "No specific risk factors identified"
    total = sum(reason["contribution"] for reason in said["reasons"])
    assert total == pytest.approx(said["anomaly_score"], abs=1e-6)
    assert set(said["reasons"][0]) == {"code", "feature", "value", "unit", "usual", "contribution", "text"}


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", "malformed_json", "message"),
        (b'{"transaction_id": "t', "malformed_json", "message"),
        (b"[]", "wrong_type", "message"),
        (b'{"transaction_id":"t","transaction_id":"t","user_id":"u","amount":1,"merchant":"m"}', "duplicate_key", ""),
        (b'{"transaction_id":"t","user_id":"u","amount":NaN,"merchant":"m"}', "not_finite", "amount"),
        (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"\xff"}', "invalid_utf8", "message"),
        (b'{"transaction_id":"t","user_id":"u","amount":1}', "missing_field", "merchant"),
        (b'{"transaction_id":"t","user_id":"u","amount":null,"merchant":"m"}', "wrong_type", "amount"),
        (b'{"transaction_id":"t","user_id":"u","amount":-1,"merchant":"m"}', "out_of_range", "amount"),
        (b'{"transaction_id":"t","user_id":"","amount":1,"merchant":"m"}', "bad_length", "user_id"),
        (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"a\\u0000b"}', "control_character", "merchant"),
        (
            b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","timestamp":"2024-05-05T05:05:05"}',
            "naive_time",
            "timestamp",
        ),
        (b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","timestamp":1}', "absurd_time", "timestamp"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_reason_of_a_dead_letter(
    worker: Worker, body: bytes, reason: str, field: str
) -> None:
    assert reason in REASONS
    said = assert_error(post(worker, body), 400, reason)
    assert field in said["detail"]
    assert "expected" in said["detail"]


def test_a_body_over_the_limit_is_refused(worker: Worker) -> None:
    limit = worker.settings.max_body_bytes
    large = EXAMPLE | {"note": "x" * limit}
    assert str(limit) in assert_error(post(worker, large), 413, "body_too_large")["detail"]
    fits = json.dumps(EXAMPLE | {"note": ""}).encode()
    assert post(worker, fits + b" " * (limit - len(fits))).status == 200, "exactly the limit is allowed"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_refused(worker: Worker, content_type: str) -> None:
    answer = worker.call("POST", "/predict", json.dumps(EXAMPLE).encode(), {"Content-Type": content_type})
    assert content_type in assert_error(answer, 415, "wrong_content_type")["detail"]


def test_a_content_type_with_a_charset_is_json_too(worker: Worker) -> None:
    assert post(worker, EXAMPLE, Content_Type="application/json; charset=utf-8").status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused_and_the_right_one_named(worker: Worker, method: str) -> None:
    answer = worker.call(method, "/predict")
    assert_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/predict/x", "/..%2f..%2fetc/passwd"])
def test_an_unknown_path_is_refused_in_json(worker: Worker, path: str) -> None:
    assert_error(worker.call("GET", path), 404, "not_found")


@pytest.mark.parametrize("page", ["table", "table/profiles", "router", "router/profiles/user_123", "graph", "stats"])
def test_fausts_own_pages_are_off(worker: Worker, page: str) -> None:
    for path in (f"/{page}", f"/{page}/"):
        assert worker.call("GET", path).status == 404, path


def test_health_tells_that_the_worker_is_ready_and_what_it_holds(worker: Worker) -> None:
    answer = worker.call("GET", "/health")
    assert answer.status == 200
    said = answer.json()
    assert said["ready"] is True
    assert said["problems"] == []
    assert said["partitions"] == [0, 1, 2, 3]
    assert said["lag"] == 0
    assert said["version"]


def test_metrics_count_what_was_predicted(worker: Worker) -> None:
    def predicted() -> float:
        answer = worker.call("GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
        assert float(lines["fraudstream_ready"]) == 1
        assert float(lines["fraudstream_partitions"]) == 4
        return float(lines["fraudstream_predict_seconds_count"])

    before = predicted()
    for _ in range(3):
        assert post(worker, EXAMPLE).status == 200
    assert predicted() == before + 3


async def test_predict_reads_the_profile_of_the_stream_and_leaves_it_as_it_is(worker: Worker) -> None:
    bootstrap, settings = worker.settings.kafka_servers or "", worker.settings
    changelog = changelog_topic(settings)
    past = [
        (b"habit", json.dumps(EXAMPLE | {"user_id": "habit", "transaction_id": f"h{day}", "timestamp": at}).encode())
        for day, at in enumerate(range(1_700_000_000, 1_700_000_000 + 40 * 86_400, 86_400))
    ]
    async with ordered_producer(bootstrap) as producer:
        await produce(producer, settings.transactions_topic, past)

    async def has_profile() -> bool:
        return any(record.key == b"habit" for record in await read_topic(bootstrap, changelog))

    async def has_verdicts() -> bool:
        return sum((await end_offsets(bootstrap, settings.verdicts_topic)).values()) >= len(past)

    await until(has_verdicts, LIMIT_S, "a verdict on each transaction of the past")
    await until(has_profile, LIMIT_S, "the profile in the changelog")
    await asyncio.sleep(3 * settings.checkpoint_interval_s)

    def ask(amount: float, name: str) -> dict[str, Any]:
        body = EXAMPLE | {"user_id": "habit", "transaction_id": name, "amount": amount, "timestamp": 1_703_456_001}
        said: dict[str, Any] = post(worker, body).json()
        own = {"transaction_id", "timestamp", "processing_time_ms"}
        return {key: value for key, value in said.items() if key not in own}

    ends, topics = {}, (changelog, settings.verdicts_topic, settings.transactions_topic, settings.alerts_topic)
    for topic in topics:
        ends[topic] = await end_offsets(bootstrap, topic)
    first = await asyncio.to_thread(ask, 45.67, "asked")
    for number in range(50):
        await asyncio.to_thread(ask, 9_000.0 + number, f"other-{number}")
    assert await asyncio.to_thread(ask, 45.67, "asked again") == first, "the questions in between have left a trace"
    assert not first["duplicate"]
    stranger = EXAMPLE | {"user_id": "stranger", "transaction_id": "strange", "timestamp": 1_703_456_001}
    assert post(worker, stranger).json()["members"] != first["members"], "the profile had no influence on the answer"
    await asyncio.sleep(3 * settings.checkpoint_interval_s)
    for topic in topics:
        assert await end_offsets(bootstrap, topic) == ends[topic], f"a question has written to {topic}"


async def test_a_recorded_transaction_gets_the_same_verdict_in_the_stream_and_counts_there_once(
    worker: Worker,
) -> None:
    bootstrap, settings = worker.settings.kafka_servers or "", worker.settings
    asked = EXAMPLE | {"user_id": "recorded", "transaction_id": "rec-1"}

    def ask(path: str, fields: dict[str, Any]) -> Answer:
        return worker.call("POST", path, json.dumps(fields).encode(), JSON)

    answers = [await asyncio.to_thread(ask, "/predict?record=true", asked) for _ in range(3)]
    assert len({answer.body for answer in answers}) == 1, answers
    batch = {"transactions": [asked | {"transaction_id": f"rec-{at}", "amount": at} for at in (2, 3)] + [{}]}
    results = (await asyncio.to_thread(ask, "/predict/batch?record=true", batch)).json()["results"]
    assert [sorted(one) for one in results] == [["verdict"], ["verdict"], ["problem"]]

    async def of_user() -> dict[str, Any]:
        records = await read_topic(bootstrap, settings.verdicts_topic)
        found = [json.loads(record.value) for record in records if record.key == b"recorded"]
        return {verdict["transaction_id"]: verdict for verdict in found}

    async def all_are_there() -> bool:
        return len(await of_user()) == 3

    await until(all_are_there, LIMIT_S, "the verdicts on what was recorded")
    own = {"timestamp", "processing_time_ms", "source_partition", "source_offset", "profile"}
    said, streamed = answers[0].json(), (await of_user())["rec-1"]
    assert {k: v for k, v in said.items() if k not in own} == {k: v for k, v in streamed.items() if k not in own}
    transactions = await read_topic(bootstrap, settings.transactions_topic)
    assert sum(record.key == b"recorded" for record in transactions) == 3

    async def profile_follows() -> bool:
        answer = await worker.ask("/profiles/recorded")
        return answer is not None and answer.status == 200 and answer.json()["lifetime_count"] == 3

    await until(profile_follows, LIMIT_S, "the profile with what was recorded")


async def test_what_the_broker_does_not_take_is_refused_and_does_not_come_later(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        settings = load_settings(kafka_servers="127.0.0.1:1", record_timeout_s=0.5)
    recorder = TransactionRecorder(settings, "127.0.0.1:1")
    process = Process(settings, load_detector(settings), recorder=recorder)
    started_s = time.monotonic()
    async with Client(process) as client:
        reply = await client.post(EXAMPLE, "/predict?record=true")
        assert reply.status == 503, reply.body
        assert reply.json()["reason"] == "not_recorded"
        assert (await client.post(EXAMPLE)).status == 200
    await recorder.stop()
    assert time.monotonic() - started_s < 20


async def test_before_it_is_ready_predict_says_when_to_come_again(own_settings: Settings, tmp_path: Path) -> None:
    with Worker(own_settings, tmp_path) as worker:

        async def web_view_is_open() -> bool:
            return await worker.ask("/health") is not None

        await until(web_view_is_open, LIMIT_S, "an open web view; it opens before profiles are there")
        health = await asyncio.to_thread(worker.call, "GET", "/health")
        answer = await asyncio.to_thread(post, worker, EXAMPLE)
        assert health.status == 503
        assert not health.json()["ready"]
        assert health.json()["problems"]
        assert int(health.headers["Retry-After"]) > 0
        assert_error(answer, 503, "not_ready")
        assert int(answer.headers["Retry-After"]) > 0
        await worker.ready()
        assert (await asyncio.to_thread(post, worker, EXAMPLE)).status == 200


async def test_with_api_keys_only_who_knows_one_may_ask(own_settings: Settings, tmp_path: Path) -> None:
    settings = own_settings.model_copy(update={"api_keys": SecretStr("first-key, second-key")})
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        for key in ("", "wrong", "first-key,", "first-key, second-key", "FIRST-KEY"):
            assert_error(await asyncio.to_thread(post, worker, EXAMPLE, X_API_Key=key), 401, "unauthorized")
        assert_error(await asyncio.to_thread(post, worker, EXAMPLE), 401, "unauthorized")
        assert_error(await asyncio.to_thread(post, worker, b"{"), 401, "unauthorized")
        for key in ("first-key", "second-key"):
            assert (await asyncio.to_thread(post, worker, EXAMPLE, X_API_Key=key)).status == 200
        assert worker.call("GET", "/health").status == 200, "a supervisor needs no key"
        assert "first-key" not in worker.log_text()


async def test_a_stopping_worker_says_so_before_it_stops_listening(own_settings: Settings, tmp_path: Path) -> None:
    with Worker(own_settings.model_copy(update={"drain_s": 1.5}), tmp_path) as worker:
        await worker.ready()
        stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
        asked_when_stopping = None
        while not stopping.done():
            health = await worker.ask("/health")
            if health is not None and health.status == 503 and asked_when_stopping is None:
                assert "stopping" in health.json()["problems"][0]
                asked_when_stopping = await asyncio.to_thread(post, worker, EXAMPLE)
            await asyncio.sleep(0.05)
        assert await stopping == 0, worker.tail()
        assert asked_when_stopping is not None
        assert asked_when_stopping.status == 200


def test_without_keys_another_address_than_loopback_is_refused(own_settings: Settings, tmp_path: Path) -> None:
    with Worker(own_settings, tmp_path, web_host="0.0.0.0") as worker:  # noqa: S104  it must refuse exactly this
        assert worker.wait(LIMIT_S) == EXIT_SETTINGS, worker.tail()
        assert "WEB_HOST=0.0.0.0" in worker.log_text()
        assert "API_KEYS" in worker.log_text()
        worker.assert_no_traceback()
