"""`tuner ui` for real, beside a search: in a browser, and what it lets others see and reach."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import OpenPage
from fork_server import COMMAND, Forked, start
from playwright.sync_api import Page, expect
from postgres_server import PASSWORD, Postgres
from toy_study import Bench
from waiting import wait_until

from tuner.storage import deliveries, open_store
from tuner.storage.studies import StudyRow
from tuner.web.security.accounts import Accounts, Role

TOKEN = "a-token-that-nobody-guesses"
USERS_PASSWORD = "correct horse battery"
SECRETS = (PASSWORD, "p{a}", "%40s%25", "s%/s", TOKEN, USERS_PASSWORD)
NAME = "<script>window.hit = 1</script>"
MARKUP = "<img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"
TRIALS = 200


@dataclass
class Service:
    """`tuner ui` and a search of one study."""

    folder: Path
    address: str
    ui: Forked
    bench: Bench
    study: StudyRow
    search: Forked

    @property
    def page(self) -> str:
        return f"{self.address}/studies/{self.study.uuid}"

    @property
    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.ui.pid)
        return [own, *own.children(recursive=True)]

    def script(self) -> httpx.Client:
        """A program that reads by the token."""
        return httpx.Client(base_url=self.address, headers={"authorization": f"Bearer {TOKEN}"})


@pytest.fixture(scope="module")
def service(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("ui")
    url, tracking = (postgres.url(postgres.create()) for _ in range(2))
    store = open_store(url)
    bench = Bench(folder, store, tracking)
    parameters = {"act": "raise markup", "at": {"type": "int", "low": 1, "high": 9999}, "pace": 0.1}
    study = bench.create(parameters, [{"x": 0.5, "at": 2}, {"x": 0.6, "at": 99}], name=NAME)
    search = bench.start(TRIALS)
    accounts = Accounts(folder / "users.json")
    accounts.put("rea", USERS_PASSWORD, Role.READER)
    environment = os.environ | {
        "TUNER_STORAGE": url,
        "MLFLOW_TRACKING_URI": tracking,
        "TUNER_UI_TOKEN": TOKEN,
        # Meant for other servers of the user's: ours must not open up by them.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "PYTHONPATH": os.pathsep.join(["", os.environ.get("PYTHONPATH", "")]),
        "TMPDIR": str(folder),
    }
    with (folder / "ui.log").open("wb") as log, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), log.fileno(), log.fileno())
        words = ("ui", "--port", "0", "--users", str(folder / "users.json"))
        ui = start(COMMAND, words, folder, streams, environment)
    try:
        wait_until(lambda: "Ctrl-C" in (folder / "ui.log").read_text() or ui.poll() is not None)
        found = re.search(r"http://127\.0\.0\.1:\d+", (folder / "ui.log").read_text())
        assert found is not None, (folder / "ui.log").read_text()
        yield Service(folder, found[0], ui, bench, study, search)
    finally:
        for process in (search, ui):
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        store.close()


def log_in(page: Page, service: Service) -> None:
    page.goto(service.page)
    page.get_by_label(re.compile("token", re.IGNORECASE)).last.fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)


@pytest.mark.slow
def test_the_page_follows_the_search(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    log_in(page, service)
    page.evaluate("window.loadedOnce = true")
    done = page.get_by_text(re.compile(rf"^\d+ of {TRIALS}$"))
    before = done.inner_text()
    expect(done).not_to_have_text(before)
    assert page.evaluate("window.loadedOnce")
