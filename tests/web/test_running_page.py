"""`tuner ui` and `tuner worker` for real: in a browser, and what they let others see and reach."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from fork_server import COMMAND, Forked, start
from playwright.sync_api import Page, expect
from postgres_server import PASSWORD, Postgres
from toy_daemon import start_daemon
from toy_study import Bench
from waiting import wait_until

from tuner.storage import deliveries, open_store, slots
from tuner.storage.daemon_rows import list_loops
from tuner.storage.studies import StudyRow
from tuner.web.security.accounts import Accounts, Role

OpenPage = Callable[..., Page]
TOKEN = "a-token-that-nobody-guesses"
USERS_PASSWORD = "correct horse battery"
TOLD = "p1nch0fsalt"
SECRETS = (PASSWORD, "p{a}", "%40s%25", "s%/s", TOKEN, USERS_PASSWORD, TOLD)
NAME = "<script>window.hit = 1</script>"
MARKUP = "<img src='data:,x' onerror='window.hit = 1'><script>window.hit = 1</script>"
TRIALS = 200


@dataclass
class Service:
    """`tuner ui`, and `tuner worker` at work on one study."""

    folder: Path
    address: str
    ui: Forked
    bench: Bench
    study: StudyRow
    worker: Forked

    @property
    def page(self) -> str:
        return f"{self.address}/studies/{self.study.uuid}"

    @property
    def origin(self) -> dict[str, str]:
        """What a browser sends with the requests of this page's scripts."""
        return {"origin": self.address}

    @property
    def processes(self) -> list[psutil.Process]:
        own = [psutil.Process(started.pid) for started in (self.ui, self.worker)]
        return own + [child for each in own for child in each.children(recursive=True)]

    @property
    def health(self) -> str:
        """The address of the daemon's health port."""
        printed = (self.folder / "worker.txt").read_text()
        told = re.search(r"(http://127\.0\.0\.1:\d+)/health", printed)
        assert told is not None
        return told[1]

    def script(self) -> httpx.Client:
        """A program that reads by the token."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60.0)

    def wait_for_tools(self) -> None:
        """Both start when somebody asks, and MLflow takes its time on a busy machine."""
        with self.script() as script:
            for page in ("/dashboard", "/mlflow/"):
                wait_until(lambda page=page: script.get(page).status_code == 200, 240)  # type: ignore[misc]


@pytest.fixture(scope="module")
def service(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("ui")
    url, tracking = (postgres.url(postgres.create()) for _ in range(2))
    store = open_store(url)
    bench = Bench(folder, store, tracking)
    parameters = {"act": "raise markup", "at": {"type": "int", "low": 1, "high": 9999}, "pace": 0.5}
    study = bench.create(parameters, [{"x": 0.5, "at": 2}, {"x": 0.6, "at": 99}], name=NAME)
    slots.ensure_slots(store, study, TRIALS)
    accounts = Accounts(folder / "users.json")
    accounts.put("rea", USERS_PASSWORD, Role.READER)
    environment = os.environ | {
        "TUNER_STORAGE": url,
        "MLFLOW_TRACKING_URI": tracking,
        "TUNER_UI_TOKEN": TOKEN,
        "TUNER_NOTIFY": f"http://me:{TOLD}@127.0.0.1:1/{TOLD}?token={TOLD}",
        "TUNER_CHECKPOINTS": str(folder / "checkpoints"),
        # Meant for other servers of the user's: ours must not open up by them.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "PYTHONPATH": os.pathsep.join(["", os.environ.get("PYTHONPATH", "")]),
        "TMPDIR": str(folder),
    }
    worker = start_daemon(folder, environment)
    with (folder / "ui.log").open("wb") as log, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), log.fileno(), log.fileno())
        words = ("ui", "--port", "0", "--users", str(folder / "users.json"))
        ui = start(COMMAND, words, folder, streams, environment)
    try:
        wait_until(lambda: "Ctrl-C" in (folder / "ui.log").read_text() or ui.poll() is not None)
        found = re.search(r"http://127\.0\.0\.1:\d+", (folder / "ui.log").read_text())
        assert found is not None, (folder / "ui.log").read_text()
        yield Service(folder, found[0], ui, bench, study, worker)
    finally:
        for process in (worker, ui):
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        store.close()


def log_in(page: Page, service: Service) -> None:
    """In the browser of this page."""
    form = {"password": TOKEN}
    page.request.post(f"{service.address}/login", form=form, headers=service.origin)


@pytest.mark.slow
def test_the_page_follows_the_search(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(service.page)
    page.get_by_label(re.compile("token", re.IGNORECASE)).last.fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    page.evaluate("window.loadedOnce = true")
    done = page.get_by_text(re.compile(rf"^\d+ of {TRIALS}$"))
    before = done.inner_text()
    expect(done).not_to_have_text(before)
    assert page.evaluate("window.loadedOnce")


def sent_run(service: Service, trial_id: int) -> str:
    """The id of a trial's run in MLflow, once it was sent."""

    def known() -> str | None:
        store, study = service.bench.store, service.study
        return deliveries.known_runs(store, study, trial_id).get(trial_id)

    wait_until(lambda: known() is not None, 60)
    return str(known())


def write_markup(page: Page, service: Service, trial_id: int) -> None:
    """As an operator, a note in the dashboard, and a note and a tag in MLflow."""
    study, address = service.study, service.address
    note = f"{address}/api/studies/{study.study_id}/{trial_id}/note"
    content = {"version": 1, "body": MARKUP}
    assert page.request.put(note, data=content, headers=service.origin).status == 204
    call = f"{address}/mlflow/ajax-api/2.0/mlflow/runs/set-tag"
    for key in ("mlflow.note.content", "markup"):
        tag = {"run_id": sent_run(service, trial_id), "key": key, "value": MARKUP}
        assert page.request.post(call, data=tag, headers=service.origin).status == 200


def follow(page: Page, link: str) -> None:
    """Follow a link to a tool, whose server may be starting; a line says so meanwhile."""
    page.get_by_role("link", name=link).click()
    expect(page.get_by_text("is starting")).to_have_count(0)


@pytest.mark.slow
def test_a_trial_opens_in_all_three_tools(service: Service, open_page: OpenPage) -> None:
    """And what people wrote of it runs in none: `open_page` looks for what the markup does."""
    service.wait_for_tools()
    page = open_page()
    log_in(page, service)
    write_markup(page, service, service.bench.trials[1].trial_id)
    trial = f"{service.page}/trials/1"
    page.goto(trial)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Trial 1 of")
    follow(page, "in the Optuna dashboard")
    expect(page.get_by_text(re.compile(r"Trial 1 \(trial_id="))).to_be_visible()
    assert page.url.startswith(f"{service.address}/dashboard/")
    page.goto(trial)
    follow(page, "in MLflow")
    expect(page.get_by_role("heading", name="trial 1")).to_be_visible()
    expect(page.get_by_text("markup").first).to_be_visible()
    # It cannot be used here, and opens by itself the first time.
    expect(page.get_by_text("Welcome to MLflow Assistant")).to_have_count(0)
    assert page.url.startswith(f"{service.address}/mlflow/#/experiments/")


@pytest.mark.slow
def test_a_traceback_runs_nothing(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    log_in(page, service)
    failed = next(trial for trial in service.bench.trials if trial.state == "FAIL")
    page.goto(f"{service.page}/trials/{failed.number}")
    expect(page.get_by_text("<script>window.hit = 1").first).to_be_visible()


@pytest.mark.slow
def test_a_phone_scrolls_only_down(service: Service, open_page: OpenPage) -> None:
    page = open_page(width=390, height=844, dark=True)
    log_in(page, service)
    for path in ("", "/trials", "/trials/1", "/enqueue"):
        page.goto(service.page + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{path} is {wide} px wide"


@pytest.mark.slow
def test_only_the_asked_ports_are_open(service: Service) -> None:
    service.wait_for_tools()
    listening = {
        connection.laddr
        for process in service.processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = {int(address.rpartition(":")[2]) for address in (service.address, service.health)}
    assert {(address.ip, address.port) for address in listening} == {
        ("127.0.0.1", port) for port in ports
    }
    sockets = list(service.folder.glob("tuner-ui-*/*.sock"))
    assert {socket.stem for socket in sockets} == {"mlflow", "dashboard"}
    for socket in sockets:  # only their user can go into the folder
        assert socket.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_no_secret_is_shown(service: Service) -> None:
    service.wait_for_tools()
    lines = "".join(line for process in service.processes for line in process.cmdline())
    assert "tool_process" in lines  # those of the tools are among them
    with service.script() as script:
        served = [
            script.get(path).text
            for path in (
                "/",
                "/health",
                "/metrics",
                f"/studies/{service.study.uuid}",
                f"/studies/{service.study.uuid}/trials",
                f"/studies/{service.study.uuid}/trials/1",
                "/api/studies",
                f"/api/studies/{service.study.study_id}?after=0",
                "/mlflow/",
                "/mlflow/ajax-api/3.0/mlflow/server-info",
                "/mlflow/ajax-api/2.0/mlflow/experiments/search?max_results=9",
                "/mlflow/no/such/page",
            )
        ]
    assert service.study.uuid in served[-2]  # MLflow has answered
    served += [httpx.get(service.health + path).text for path in ("/health", "/metrics")]
    written = [
        path.read_bytes().decode(errors="replace")
        for path in service.folder.rglob("*")
        if path.is_file()
    ]
    assert len(written) > 5
    for text in (lines, *served, *written):
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.slow
def test_a_study_is_stopped_from_the_browser(service: Service, open_page: OpenPage) -> None:
    page = open_page()
    log_in(page, service)
    page.goto(service.page)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status").filter(has_text="stop").first).to_be_visible()
    wait_until(lambda: not list_loops(service.bench.store))  # the daemon has left it
    assert 0 < len(service.bench.trials) < TRIALS
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
