"""The OpenAPI document is true: schemathesis finds nothing, every example holds; 10,000 bad requests get no 500."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.adapters.transaction_recorder import TransactionRecorder
from fraudstream.detector import load_detector
from fraudstream.pipeline import Detector, process
from fraudstream.settings import Settings, load_settings
from fraudstream.web.openapi import document
from fraudstream.web.problems import KINDS
from tests.http_service import EXAMPLE, JSON, Client, Process, Profiles, served
from tests.mutations import messages

CHECKOUT = Path(__file__).resolve().parents[2]
SCHEMATHESIS_WITHIN_S = 240

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_environment")]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(Settings.model_construct())


@pytest.fixture(scope="module")
def record(detector: Detector) -> bytes:
    """Some user's profile."""

    class Source:
        topic, partition, offset, timestamp, key = "", 0, 0, 1_750_000_000_000, b"user_123"
        value = json.dumps(EXAMPLE | {"latitude": 40.7, "longitude": -74.0}).encode()

    return process(detector, [Source()], lambda _partition, _key: b"").profiles[0, b"user_123"]


@pytest.fixture
def address(detector: Detector, record: bytes, embedded_broker: EmbeddedBroker) -> Iterator[str]:
    """A process with a broker, where every second user is known."""
    settings = load_settings()
    embedded_broker.create_topic(settings.transactions_topic, settings.topic_partitions)
    recorder = TransactionRecorder(settings, embedded_broker.bootstrap)
    with served(Process(settings, detector, Profiles(_EverySecond(record)), recorder)) as address:
        yield address


class _EverySecond(dict[bytes, bytes]):
    """Knows the users whose name has an even length."""

    def __init__(self, record: bytes) -> None:
        super().__init__()
        self._record = record

    def get(self, key: bytes, default: Any = None) -> Any:
        return default if len(key) % 2 else self._record


def test_schemathesis_finds_nothing(address: str, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(CHECKOUT / "tests" / "schemathesis.toml")),
        *("run", f"{address}/openapi.json", "--continue-on-failure", "--no-color"),
    ]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SCHEMATHESIS_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "7 selected / 7 total" in ran.stdout
    assert " passed" in ran.stdout


async def test_ten_thousand_bad_and_good_requests_get_no_500(detector: Detector) -> None:
    chance = random.Random(5)
    # Without a body there is no request, and no request has a message key.
    kept = [
        one for one in messages(7_000, seed=5, large=4) if one.value is not None and one.reasons != {"key_mismatch"}
    ]
    assert len(kept) >= 10_000
    statuses: Counter[int] = Counter()
    async with Client(Process(load_settings(), detector)) as client:
        waiting = iter(kept)

        async def ask() -> None:
            for one in waiting:
                path = chance.choice(["/predict", "/predict", "/predict?timeout_ms=5", "/predict/batch"])
                body = one.value or b""
                reply = await client.call("POST", path, body, JSON)
                statuses[reply.status] += 1
                assert reply.status < 500, (path, body[:200], reply.body)
                if path != "/predict/batch" and len(body) <= client.process.settings.max_body_bytes:
                    expected = {"200"} if one.is_good else one.reasons
                    got = "200" if reply.status == 200 else reply.json()["reason"]
                    assert got in expected, (body[:200], reply.body)

        await asyncio.gather(*(ask() for _ in range(16)))
        assert (await client.post(EXAMPLE)).status == 200
    assert statuses[200] > 3_000
    assert statuses[400] > 3_000
    assert statuses[413] > 0


async def test_noise_instead_of_requests_gets_no_500(detector: Detector) -> None:
    chance = random.Random(6)
    paths = ["/predict", "/predict/batch", "/profiles/a", "/health", "/metrics", "/docs", "/docs/x", "/openapi.json"]
    async with Client(Process(load_settings(), detector)) as client:
        for _ in range(1_000):
            ending = chance.choice(["", "", "?record=maybe", "?timeout_ms=5&timeout_ms=6", "/", "?%ff"])
            path = chance.choice(paths) + ending
            method = chance.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"])
            body = chance.randbytes(chance.randrange(200)) if method in {"POST", "PUT", "PATCH"} else None
            headers = chance.choice([{}, JSON, {"Content-Type": "text/xml"}, {"X-API-Key": "é"}])
            reply = await client.call(method, path, body, headers)
            assert reply.status < 500, (method, path, reply.body)


# Examples


def examples(node: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every media type of the document with each of its examples."""
    if isinstance(node, dict):
        if "schema" in node and "examples" in node:
            for one in node["examples"].values():
                yield node["schema"], one["value"]
        for child in node.values():
            yield from examples(child)
    elif isinstance(node, list):
        for child in node:
            yield from examples(child)


@pytest.mark.parametrize("has_keys", [False, True])
def test_every_example_fits_its_schema(has_keys: bool) -> None:
    whole = json.loads(json.dumps(document(has_keys=has_keys)))
    found = list(examples(whole["paths"]))
    assert len(found) > 40
    for schema, example in found:
        complete = schema | {"components": whole["components"]}
        assert list(jsonschema_rs.validator_for(complete).iter_errors(example)) == [], example


async def test_the_examples_are_answered_as_they_say(detector: Detector) -> None:
    whole = document(has_keys=False)
    async with Client(Process(load_settings(), detector)) as client:
        for path, operations in whole["paths"].items():
            for one in operations.get("post", {}).get("requestBody", {}).get("content", {}).values():
                for example in one["examples"].values():
                    reply = await client.post(example["value"], path)
                    assert reply.status == 200, reply.body
                    shown = operations["post"]["responses"]["200"]["content"]["application/json"]["examples"]
                    forms = {frozenset(answer["value"]) for answer in shown.values()}
                    assert frozenset(reply.json()) in forms


def test_every_problem_of_the_routes_is_in_the_document() -> None:
    text = json.dumps(document(has_keys=True))
    everywhere = {"not_found", "method_not_allowed", "internal_error"}
    of_the_console = {"unknown_transaction", "too_many_consoles"}  # a page's own data is no part of the API
    assert {reason for reason in KINDS if f'"{reason}"' not in text} == everywhere | of_the_console


def test_a_key_is_asked_for_where_there_are_keys() -> None:
    with_keys, without = document(has_keys=True), document(has_keys=False)
    assert with_keys["paths"]["/predict"]["post"]["security"] == [{"ApiKey": []}]
    assert with_keys["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"
    assert "securitySchemes" not in without["components"]
    assert "401" not in without["paths"]["/predict"]["post"]["responses"]


# The page


async def test_the_page_takes_everything_from_here(detector: Detector) -> None:
    async with Client(Process(load_settings(), detector)) as client:
        page = await client.call("GET", "/docs")
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/html")
        text = page.body.decode()
        assert "http://" not in text
        assert "https://" not in text
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
            assert f"/docs/{name}" in text
            asset = await client.call("GET", f"/docs/{name}")
            assert asset.status == 200
            assert asset.body
        assert b"SwaggerUIBundle" in (await client.call("GET", "/docs/start.js")).body
        for name in ("swagger-initializer.js", "..%2findex.html", "nothing"):
            assert (await client.call("GET", f"/docs/{name}")).status == 404
