"""Pages in the system's Chromium, driven by Playwright, and what axe finds in them.

Modules of tests import the fixtures `chromium` and `open_page`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE, DESKTOP, HEIGHT = 400, 1400, 900  # pixels
THEMES = ("light", "dark")
in_browser = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Not for all modules: while Playwright runs, its thread can run no other event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """`open_page(url, width, theme)`: a page with a profile of its own. Errors of its scripts fail the test."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:  # a refused request
            errors.append(message.text)

    def open_page(url: str, width: int = DESKTOP, theme: str = "light", **options: object) -> Page:
        size = {"width": width, "height": HEIGHT}
        context = chromium.new_context(viewport=size, color_scheme=theme, **options)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in chromium.contexts:
        context.close()
    assert not errors, "\n".join(errors)


def axe_findings(page: Page) -> list[str]:
    """Return what axe finds in a page, one line for each rule."""
    found = Axe().run(page).response["violations"]
    return [f"{each['impact']}: {each['id']}: {each['nodes'][0]['html']}" for each in found]
