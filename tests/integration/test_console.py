"""The console in a real Chromium, on a real worker with transactions streaming: what a customer sees, and can reach.

CONSOLE_SCREENSHOTS=docs/screenshots keeps pictures of it there; without that nothing is written.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from playwright.async_api import Browser, Page, expect
from pydantic import SecretStr

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.settings import Settings, load_settings
from fraudstream.topics import declared_topics
from tests.servers.browser import Scheme, accessibility_problems, opened
from tests.traffic import Traffic
from tests.worker import Worker

LIMIT_MS = 30_000.0
PHONE = {"width": 390, "height": 844}
ROWS = "#verdict-rows tr"
FOCUSED = """() => {
  const e = document.activeElement;
  const name = e.id || e.dataset.shown || e.closest("tr")?.tagName || e.className;
  return [name, getComputedStyle(e).outlineStyle];
}"""
FRAMES_A_SECOND = """() => new Promise(done => {
  let frames = 0;
  const end = performance.now() + 2000;
  const step = now => { if (now > end) done(frames / 2); else { frames++; requestAnimationFrame(step); } };
  requestAnimationFrame(step);
})"""
SCREENSHOTS = os.environ.get("CONSOLE_SCREENSHOTS")

pytestmark = [pytest.mark.slow]


@dataclass(frozen=True)
class Stage:
    """A worker that judges a stream, and where its console is."""

    worker: Worker
    traffic: Traffic

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.worker.port}/"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for all tests of this module, with 60 transactions a second."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        broker = stack.enter_context(EmbeddedBroker())
        settings = load_settings(kafka_servers=broker.bootstrap, app_id=f"t{uuid.uuid4().hex[:8]}")
        for topic in declared_topics(settings):
            broker.create_topic(topic.name, topic.partitions)
        worker = stack.enter_context(Worker(settings, tmp_path_factory.mktemp("console")))
        asyncio.run(worker.ready())
        traffic = Traffic(
            broker.bootstrap,
            settings.transactions_topic,
            lambda: judged_by(worker),
            past=30_000,
            then=20_000,
            flood=120_000,
            rate=60,
        )
        yield Stage(worker, stack.enter_context(traffic))
        worker.assert_no_traceback()


def judged_by(worker: Worker) -> int:
    return int(worker.call("GET", "/health").json()["processed"])


async def screenshot(page: Page, name: str, *, after_s: float = 0.0, whole: bool = False) -> None:
    if SCREENSHOTS:
        await asyncio.sleep(after_s)
        await page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=whole)


async def rows_arrive(page: Page) -> None:
    await expect(page.locator(ROWS).nth(5)).to_be_visible(timeout=LIMIT_MS)
    first = await page.locator(ROWS).first.get_attribute("data-id")
    await expect(page.locator(ROWS).first).not_to_have_attribute("data-id", first or "", timeout=LIMIT_MS)


async def open_an_alert(page: Page) -> str:
    """Opens the transaction page of the newest alert; returns its id."""
    await page.get_by_role("button", name="Alerts only").click()
    link = page.locator("tr.flagged a.id").first
    await expect(link).to_be_visible(timeout=LIMIT_MS)
    await link.focus()  # the list stands still while somebody is in it
    found = await link.text_content() or ""
    await link.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text(found)
    await expect(page.locator(".history svg")).to_be_visible(timeout=LIMIT_MS)
    return found


async def test_verdicts_arrive_live_with_the_figures_of_the_last_minute(stage: Stage, browser: Browser) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        await expect(page.locator("#state")).to_have_text("Live")
        # What was there before the page was opened must not count as shown of what came since.
        shown = re.search(r"1 of (\d+) others", await page.locator("#sampling").text_content() or "")
        assert shown is not None, "6 of about 30 verdicts were shown, and the page says nothing of the others"
        assert int(shown[1]) > 4
        await expect(page.locator("#throughput")).not_to_have_text(re.compile("–|^0$"), timeout=LIMIT_MS)
        for figure in ("waited-p99", "took-p99"):
            await expect(page.locator(f"#{figure}")).to_have_text(re.compile(r"^[\d.]+\s(ms|s)$"), timeout=LIMIT_MS)
        await expect(page.locator("#alert-rate")).to_have_text(re.compile(r"^[\d.]+\s%$"))
        await expect(page.locator("#alert-note")).to_contain_text("10")
        await expect(page.locator("#lag")).to_have_text(re.compile(r"^[\d,]+$"))
        await expect(page.locator("#scores-chart svg")).to_have_attribute("aria-label", re.compile("threshold 0.900"))
        await expect(page.locator("#reasons li").first).to_contain_text("%")
        version = stage.worker.call("GET", "/health").json()["model_version"]
        await expect(page.locator("#worker")).to_contain_text(version)
        await screenshot(page, "live-light", after_s=61)  # the past, sent at once, has left the last minute
        assert console.complaints == []


async def test_search_finds_a_transaction_and_a_user(stage: Stage, browser: Browser) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        row = page.locator(ROWS).nth(3)
        transaction = await row.get_attribute("data-id") or ""
        user = await page.locator(f"tr[data-id='{transaction}'] td.middle").text_content() or ""
        search = page.get_by_role("searchbox")
        await search.fill(transaction)
        await search.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"Transaction {transaction}", timeout=LIMIT_MS)
        await expect(page.locator(".lead")).to_contain_text(user)
        await search.fill(user)
        await search.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"User {user}", timeout=LIMIT_MS)
        await expect(page.locator(".history svg")).to_have_attribute("aria-label", re.compile(user))
        await search.fill(user[:-1])
        await search.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"Search: {user[:-1]}")
        await expect(page.get_by_role("link", name=user, exact=True)).to_be_visible(timeout=LIMIT_MS)
        await search.fill("nobody-has-this-id")
        await search.press("Enter")
        await expect(page.locator(".lead")).to_contain_text("Nothing found", timeout=LIMIT_MS)
        assert console.complaints == []


async def test_a_transaction_has_its_reasons_as_bars_and_its_place_in_the_users_last_30_days(
    stage: Stage, browser: Browser
) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        transaction = await open_an_alert(page)
        assert page.url.endswith(f"#/transactions/{transaction}"), "the page has no address of its own"
        reasons = page.locator(".reason")
        assert await reasons.count() >= 1
        widths = await page.evaluate("[...document.querySelectorAll('.reason .meter i')].map(e => e.clientWidth)")
        parts = [float(text.replace("<", "")) for text in await page.locator(".reason .amount").all_text_contents()]
        whole = float(await page.locator(".verdict-score .figure").text_content() or "nan")
        assert abs(sum(parts) - whole) < 0.001 * len(parts), "the bars are not the score"
        assert widths.index(max(widths)) == parts.index(max(parts)), "the longest bar is not the largest part"
        chart = page.locator(".history svg")
        assert await chart.locator(".dot.this").count() == 1
        assert await chart.locator(".dot").count() >= 1
        assert "this one is" in (await chart.get_attribute("aria-label") or "")
        await page.get_by_text("The same as a table").click()
        await expect(page.locator("details tbody tr", has_text="this transaction")).to_have_count(1)
        await page.get_by_text("The same as a table").click()
        await page.reload()  # a link that was sent to somebody opens the same
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"Transaction {transaction}", timeout=LIMIT_MS)
        assert console.complaints == []


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", get_args(Scheme))
async def test_axe_finds_no_serious_problem_and_nothing_is_cut_off(
    stage: Stage, browser: Browser, scheme: Scheme, size: str
) -> None:
    async with opened(browser, stage.url, scheme=scheme, **(PHONE if size == "phone" else {})) as console:
        page = console.page

        async def assert_good(view: str) -> None:
            assert await accessibility_problems(page) == [], view
            too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, f"{view} is {too_wide} px wider than the window"

        await rows_arrive(page)
        await assert_good("live")
        if size == "phone":
            await expect(page.locator("tr.flagged .narrow").first).to_have_text(re.compile(r"^[A-Z][a-z ]+$"))
            await expect(page.locator("tr.flagged .narrow").first).to_be_visible()
        if size == "phone" or scheme == "dark":
            await screenshot(page, f"live-{size}-{scheme}" if size == "phone" else f"live-{scheme}", after_s=4)
        await open_an_alert(page)
        await assert_good("transaction")
        await screenshot(page, f"transaction-{size}-{scheme}", whole=True)
        await page.locator(".lead a").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("User")
        await expect(page.locator(".history svg")).to_be_visible(timeout=LIMIT_MS)
        await assert_good("user")
        await page.get_by_role("searchbox").fill("user_")
        await page.get_by_role("searchbox").press("Enter")
        await expect(page.get_by_role("heading", name="Users")).to_be_visible(timeout=LIMIT_MS)
        await assert_good("search")
        assert console.complaints == []


async def test_everything_is_reached_by_keyboard_with_a_focus_that_shows(stage: Stage, browser: Browser) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        reached: list[str] = []
        for _ in range(14):
            await page.keyboard.press("Tab")
            name, outline = await page.evaluate(FOCUSED)
            reached.append(name)
            assert outline != "none", f"no focus is seen on {name}"
        tools = ["query", "find", "pause", "theme", "all", "alerts", "verdict-list"]
        assert reached == ["skip", "brand", *tools, "TR", "TR", "TR", "TR", "TR"], "the rows follow, link by link"
        focused = await page.evaluate("document.activeElement.textContent")
        await asyncio.sleep(2)
        assert await page.evaluate("document.activeElement.textContent") == focused, "the list moved under the keyboard"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text(focused, timeout=LIMIT_MS)
        await page.keyboard.press("Shift+Tab")
        assert await page.evaluate("document.activeElement.textContent") == "← Live view", "no way back by keyboard"
        await page.keyboard.press("Enter")
        await expect(page.locator("#live")).to_be_visible()
        for _ in range(6):
            await page.keyboard.press("Shift+Tab")  # no trap on the way back
        assert console.complaints == []


async def test_pause_holds_the_page_still_and_theme_and_motion_are_the_users_choice(
    stage: Stage, browser: Browser
) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("#state")).to_have_text("Paused")
        first = await page.locator(ROWS).first.get_attribute("data-id")
        figures = await page.locator("#total-verdicts").text_content()
        await asyncio.sleep(2.5)
        assert await page.locator(ROWS).first.get_attribute("data-id") == first
        assert await page.locator("#total-verdicts").text_content() == figures
        await page.get_by_role("button", name="Resume").click()
        await expect(page.locator(ROWS).first).not_to_have_attribute("data-id", first or "", timeout=LIMIT_MS)
        theme = page.locator("#theme")
        grounds = set()
        for _ in range(3):
            await theme.click()
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2, "light and dark must differ, and system is one of them"
        await page.emulate_media(reduced_motion="reduce")
        row = page.locator(ROWS).first
        assert await row.evaluate("e => (e.className = 'fresh', getComputedStyle(e).animationName)") == "none"
        assert console.complaints == []


async def test_at_5000_transactions_a_second_it_shows_some_and_says_how_many(stage: Stage, browser: Browser) -> None:
    async with opened(browser, stage.url) as console:
        page = console.page
        await rows_arrive(page)
        stage.traffic.rise(5_000)
        before = stage.traffic.sent
        try:
            await expect(page.locator("#sampling")).to_have_text(
                re.compile(r"^Showing 1 of \d+ alerts, 1 of [\d,]{3,} others$"), timeout=LIMIT_MS
            )
            await expect(page.locator("#throughput")).to_have_text(re.compile(r"^(\d,|[3-9])\d\d"), timeout=LIMIT_MS)
            await screenshot(page, "live-5000", after_s=6)
            drawn = await page.locator(ROWS).count()
            frames = await page.evaluate(FRAMES_A_SECOND)
        finally:
            stage.traffic.rate = 60
        assert drawn <= 120, "the page must not grow with the stream"
        assert frames > 4, f"{frames:.0f} frames a second: the page is not usable under load"
        assert stage.traffic.sent - before > 5_000
        assert console.complaints == []


async def test_a_page_that_lost_its_worker_says_so_and_comes_back_by_itself(
    own_settings: Settings, browser: Browser, tmp_path: Path
) -> None:
    with Worker(own_settings, tmp_path) as worker:
        await worker.ready()
        async with opened(browser, f"http://127.0.0.1:{worker.port}/") as console:
            page = console.page
            await expect(page.locator("#state")).to_have_text("Live", timeout=LIMIT_MS)
            await expect(page.locator("#verdicts-empty")).to_contain_text("No transaction has been judged yet")
            await expect(page.locator("#sampling")).to_have_text("")
            assert await accessibility_problems(page) == []
            await screenshot(page, "empty")
            assert worker.stop(within_s=20) == 0, "an open page must not hold a worker that stops"
            await expect(page.locator("#state")).to_have_text("Disconnected", timeout=LIMIT_MS)
            await expect(page.locator("#connection-text")).to_contain_text(re.compile(r"Next try in \d+ s"))
            assert await accessibility_problems(page) == []
            await screenshot(page, "disconnected")
            worker.start()
            await worker.ready()
            await expect(page.locator("#state")).to_have_text("Live", timeout=LIMIT_MS)
            await expect(page.locator("#connection")).to_be_hidden()


async def test_with_api_keys_the_page_asks_for_one_and_shows_nothing_before(
    own_settings: Settings, browser: Browser, tmp_path: Path
) -> None:
    settings = own_settings.model_copy(update={"api_keys": SecretStr("first-key")})
    with Worker(settings, tmp_path) as worker:
        await worker.ready()
        for path in ("events", "search?q=a", "transactions/a", "users/a"):
            assert worker.call("GET", f"/console/{path}").status == 401, path
        async with opened(browser, f"http://127.0.0.1:{worker.port}/") as console:
            page = console.page
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_be_visible(timeout=LIMIT_MS)
            await expect(page.locator("#reasons-empty")).to_be_hidden()  # whether there is an alert is not known yet
            assert await accessibility_problems(page) == []
            await screenshot(page, "key")
            await page.get_by_label("API key").fill("wrong")
            await page.get_by_role("button", name="Use key").click()
            await expect(page.get_by_role("alert")).to_have_text("This key is not known to the worker.")
            await page.get_by_label("API key").fill("first-key")
            await page.keyboard.press("Enter")
            await expect(page.locator("#state")).to_have_text("Live", timeout=LIMIT_MS)
            await expect(dialog).to_be_hidden()
            await page.reload()
            await expect(page.locator("#state")).to_have_text("Live", timeout=LIMIT_MS)
            assert "first-key" not in page.url
            await page.get_by_role("button", name="Forget key").click()
            await expect(dialog).to_be_visible(timeout=LIMIT_MS)
            refused = [each for each in console.complaints if "401" not in each]
            assert refused == [], "beside the refusals themselves nothing may be complained about"
