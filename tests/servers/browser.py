"""Debian's Chromium, driven by Playwright; finds the browser, watches its console, judges accessibility by axe-core."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.servers.jars import ServerUnavailableError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
AXE = "axe.min.js"
SERIOUS = frozenset({"serious", "critical"})

Scheme = Literal["light", "dark"]


@dataclass
class Opened:
    """A page and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keeps what the page wrote as an error or a warning."""
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def chromium_browser() -> AsyncIterator[Browser]:
    """A browser of one's own.

    Raises:
        ServerUnavailableError: there is no Chromium on this machine.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise ServerUnavailableError(f"none of {', '.join(PROGRAMS)} is on the PATH: install Debian's chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, scheme: Scheme = "light", width: int = 1440, height: int = 900
) -> AsyncIterator[Opened]:
    """A page in a context of its own, without anything that another page stored."""
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        found = Opened(await context.new_page())
        found.page.on("console", found.note)
        found.page.on("pageerror", lambda error: found.complaints.append(f"uncaught: {error}"))
        await found.page.goto(url)
        yield found
    finally:
        await context.close()


async def accessibility_problems(page: Page) -> list[str]:
    """What axe-core finds serious or critical, one line each."""
    script = files("axe_playwright_python").joinpath(AXE).read_text(encoding="utf-8")
    violations: list[dict[str, Any]] = await page.evaluate(f"{script}; axe.run().then(found => found.violations)")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:120]}"
        for each in violations
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
