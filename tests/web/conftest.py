"""A real browser, Debian's Chromium, for the tests of the page."""

import os
import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Browsers say it of pages whose sizes depend on each other; MLflow's do.
_OF_MLFLOW = "ResizeObserver loop completed with undelivered notifications."
OpenPage = Callable[..., Page]
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file, not of all: until it is closed, playwright's event loop
    runs in this thread, and no other test can run one. Without Chromium they are skipped, in CI
    they fail."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("the browser tests need Chromium: apt-get install chromium")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(_OPTIONS))
        yield started
        started.close()


class Watch:
    """What a page must not do: log an error, ask another machine, run what a user wrote."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.endswith(_OF_MLFLOW):
            self.problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname not in _LOOPBACK:
            self.problems.append(f"request: {request.url}")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens a page in a browser of its own: `open_page(width=390, dark=True)`. At the end none may
    have logged an error, asked another machine, or run what a user wrote (`window.hit`)."""
    opened: list[tuple[Page, Watch]] = []

    def open_one(width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        opened.append((page, Watch(page)))
        return page

    yield open_one
    for page, watch in opened:
        hit = page.evaluate("window.hit")
        page.context.close()
        assert not watch.problems, "\n".join(watch.problems)
        assert hit is None, "a script of a user's has run"
