"""The console's routes over HTTP: the page for everybody under a strict policy, the data for who may call the API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from pydantic import SecretStr

from fraudstream.detector import load_detector
from fraudstream.pipeline import Detector, process
from fraudstream.settings import Settings, load_settings
from fraudstream.state.profile import EMPTY
from fraudstream.web.console import CONTENT_TYPES, mount_console
from fraudstream.web.live import MOST_SUBSCRIBERS, LiveFeed
from fraudstream.web.lookup import Lookup
from tests.checker import until
from tests.http_service import Client, Process, quoted
from tests.unit.test_pipeline import START_S, message

STATIC = Path(__file__).resolve().parents[2] / "fraudstream" / "web" / "static"
DATA = ["events", "search?q=t1", "transactions/t1", "users/u1"]
WITHIN_S = 20.0


class Console(Client):
    """A client of a process with a console."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.feed = LiveFeed(process.settings, process.health)
        self.lookup = Lookup(self.feed.recent, process.profiles)
        mount_console(self.app, self.feed, self.lookup)

    async def __aenter__(self) -> Console:
        await super().__aenter__()
        return self

    def judge(self, count: int) -> None:
        """Lets the process judge transactions of user u1, one an hour."""
        records = [message(at, "u1", timestamp=START_S + at * 3600) for at in range(count)]
        outcome = process(self.process.detector, records, lambda _partition, _key: EMPTY)
        (self.process.profiles.records[b"u1"],) = outcome.profiles.values()
        self.feed.observe(outcome, 0.002)

    def events(self, **headers: str) -> aiohttp.client._RequestContextManager:
        return self._session.get(self.server.make_url("/console/events"), headers=headers)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(load_settings(model_registry=None))


@pytest.fixture
async def console(own_settings: Settings, detector: Detector) -> AsyncIterator[Console]:
    async with Console(Process(own_settings, detector)) as console:
        yield console


async def next_event(answer: aiohttp.ClientResponse) -> tuple[str, dict[str, object]]:
    async with asyncio.timeout(WITHIN_S):
        lines = [(await answer.content.readline()).decode().rstrip("\n") for _ in range(3)]
    assert re.fullmatch(r"event: \w+", lines[0]), lines
    assert lines[1].startswith("data: ")
    assert lines[2] == ""
    return lines[0][7:], msgspec.json.decode(lines[1][6:])


async def test_the_page_and_all_its_files_are_served_under_a_policy_that_lets_nothing_else_in(console: Console) -> None:
    page = await console.call("GET", "/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    named = set(re.findall(r'(?:href|src)="(console/static/[^"]+)"', page.body.decode()))
    assert {path.name for path in STATIC.iterdir()} >= {Path(name).name for name in named}
    for path in sorted(STATIC.iterdir()):
        answer = await console.call("GET", f"/console/static/{path.name}")
        assert answer.status == 200, path.name
        assert answer.body == path.read_bytes()
        assert answer.headers["Content-Type"] == f"{CONTENT_TYPES[path.suffix]}; charset=utf-8"
        again = await console.call(
            "GET", f"/console/static/{path.name}", headers={"If-None-Match": answer.headers["Etag"]}
        )
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["..%2fconsole.py", "%2e%2e/console.py", "__init__.py", "nothing.js", ""])
async def test_no_other_file_is_served(console: Console, name: str) -> None:
    answer = await console.call("GET", f"/console/static/{name}")
    assert answer.status == 404
    assert answer.json()["reason"] == "not_found"


def test_nothing_in_the_page_is_inline_or_comes_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]", text, re.IGNORECASE), f"{path.name} names another host"
        assert "innerHTML" not in text, path.name
    page = (STATIC / "console.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


async def test_with_keys_the_page_is_open_and_its_data_is_not(own_settings: Settings, detector: Detector) -> None:
    settings = own_settings.model_copy(update={"api_keys": SecretStr("first-key")})
    async with Console(Process(settings, detector)) as console:
        console.judge(3)
        for path in ("/", "/console/static/console.js"):
            assert (await console.call("GET", path)).status == 200
        for path in DATA:
            for key in ({}, {"X-API-Key": "wrong"}):
                answer = await console.call("GET", f"/console/{path}", headers=key)
                assert answer.status == 401, path
                assert answer.json()["reason"] == "unauthorized"
        for path in DATA[1:]:
            answer = await console.call("GET", f"/console/{path}", headers={"X-API-Key": "first-key"})
            assert answer.status == 200, path
            assert answer.headers["Cache-Control"] == "no-store"
        async with console.events(**{"X-API-Key": "first-key"}) as stream:
            assert stream.status == 200


async def test_events_are_server_sent_figures_first_and_then_what_is_judged(console: Console) -> None:
    console.judge(5)
    async with console.events() as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        name, figures = await next_event(answer)
        assert name == "figures"
        assert figures["window_verdicts"] == 5
        name, sample = await next_event(answer)
        assert name == "rows"
        assert isinstance(sample["rows"], list)
        assert {row["transaction_id"] for row in sample["rows"]} == {f"t{at}" for at in range(5)}
        console.judge(8)
        seen: list[object] = []
        while 13 not in seen:
            seen.append((await next_event(answer))[1].get("window_verdicts"))


async def test_one_page_too_many_is_told_to_come_again(console: Console) -> None:
    open_ones = [await console.events() for _ in range(MOST_SUBSCRIBERS)]
    for answer in open_ones:
        await next_event(answer)
    refused = await console.call("GET", "/console/events")
    assert refused.status == 503
    assert refused.json()["reason"] == "too_many_consoles"
    assert int(refused.headers["Retry-After"]) > 0
    for answer in open_ones:
        answer.close()

    async def nobody_watches() -> bool:
        return not console.feed._subscribers

    await until(nobody_watches, WITHIN_S, "pages that went away are noticed at the next event")


async def test_a_process_that_stops_does_not_wait_for_open_pages(own_settings: Settings, detector: Detector) -> None:
    async with Console(Process(own_settings, detector)) as console, console.events() as answer:
        await next_event(answer)
        async with asyncio.timeout(5):
            await console.server.close()
            assert await answer.content.read() is not None, "the stream ends properly"


async def test_transactions_users_and_searches_answer_or_say_what_was_expected(console: Console) -> None:
    console.judge(30)
    page = (await console.call("GET", "/console/transactions/t29")).json()
    assert page["verdict"]["transaction_id"] == page["transaction"]["transaction_id"] == "t29"
    assert len(page["history"]["points"]) == 30
    user = (await console.call("GET", "/console/users/u1")).json()
    assert [row["transaction_id"] for row in user["rows"]][:2] == ["t29", "t28"]
    found = (await console.call("GET", "/console/search?q=t2")).json()
    assert {row["transaction_id"] for row in found["transactions"]} == {"t2", *(f"t{at}" for at in range(20, 30))}
    for path, status, reason in [
        ("transactions/none", 404, "unknown_transaction"),
        ("users/none", 404, "unknown_user"),
        ("search?q=", 400, "invalid_parameter"),
        (f"search?q={'x' * 129}", 400, "invalid_parameter"),
    ]:
        answer = await console.call("GET", f"/console/{path}")
        assert (answer.status, answer.json()["reason"]) == (status, reason), path
        assert "expected" in answer.json()["detail"]


@pytest.mark.parametrize("odd", ["<img src=x>", 'a"b', "ü/λ", "a%00b", "a%2Fb", "a b?c#d", "back\\slash"])
async def test_odd_ids_are_found_like_any_other(console: Console, odd: str) -> None:
    records = [message(0, odd, transaction_id=odd)]
    console.feed.observe(process(console.process.detector, records, lambda _partition, _key: EMPTY), 0.002)
    for path in ("transactions", "users"):
        answer = await console.call("GET", f"/console/{path}/{quoted(odd)}")
        assert answer.status == 200, path
    found = (await console.call("GET", f"/console/search?q={quoted(odd)}")).json()
    assert [row["transaction_id"] for row in found["transactions"]] == found["users"] == [odd]
