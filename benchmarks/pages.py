"""The page of a study with many thousands of trials, and what an open page costs a search.

Each function runs in a process of its own: python -m benchmarks.pages NAME --json '{…}'.
"""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from benchmarks import large, service, simulated_workers
from benchmarks.commands import Result, main
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import Wanted
from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
from tuner.settings import load_settings
from tuner.storage import Store, open_store
from tuner.storage.studies import StudyRow
from tuner.study.spec import Choice, DataSpec

_PROGRAM = str(Path(sys.executable).with_name("tuner"))
_CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


@contextlib.contextmanager
def _page_of(url: str, folder: str) -> Iterator[str]:
    """The address of `tuner ui` on this database."""
    command = [_PROGRAM, "--storage", url, "ui", "--port", "0"]
    with Path(folder, "ui.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _address(Path(folder, "ui.log"), process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # it is still computing a figure
            process.kill()


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise SystemExit(f"tuner ui did not start: {log.read_text()[-500:]}")


def _new_study(store: Store, url: str, sampler: str = "tpe", pruner: str = "hyperband") -> StudyRow:
    wanted = Wanted(
        name="large",
        data=DataSpec(source="digits"),
        sampler=Choice(name=sampler),
        pruner=Choice(name=pruner),
    )
    return create_study(wanted, load_settings(url, None), lambda: store).study


def looking(trials: int = 50_000, database: str = "sqlite", runs: int = 5) -> Result:
    """Seconds of a study's page and of the second page of its table, sorted by number and by score:
    the median of `runs` answers, and of the browser's first paint, where there is Chromium."""
    with (
        tempfile.TemporaryDirectory() as folder,
        service.new_database(database, folder) as (url, _),
        chdir(folder),
    ):
        store = open_store(url)
        study = _new_study(store, url)
        large.fill(store, study, trials)
        store.close()
        with _page_of(url, folder) as address:
            page = f"{address}/studies/{study.uuid}"
            table = f"{page}/trials?page=2"
            found = {
                "page": _fetched(page, runs),
                "next_page": _fetched(table, runs),
                "sorted_by_score": _fetched(f"{table}&sort=-score", runs),
                "filtered": _fetched(f"{table}&filter=score%3E0.5", runs),
            }
            return found | _painted(page, runs)


def _fetched(address: str, runs: int) -> list[float]:
    """Seconds of the first answer, and the median of further ones."""
    import httpx

    seconds = []
    with httpx.Client(timeout=120) as client:
        for _ in range(runs):
            began = time.perf_counter()
            client.get(address).raise_for_status()
            seconds.append(time.perf_counter() - began)
    return [round(seconds[0], 3), round(statistics.median(seconds[1:]), 3)]


def _painted(address: str, runs: int) -> Result:
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_CHROMIUM))
        paints = []
        for _ in range(runs):
            page = browser.new_context().new_page()
            page.goto(address, wait_until="commit", timeout=120_000)
            # The page's own rules forbid the browser to run a text, as wait_for_function does.
            while (painted_ms := page.evaluate(_PAINT)) is None:
                page.wait_for_timeout(10)
            paints.append(painted_ms / 1000)
            page.context.close()
        browser.close()
    return {"first_paint": [round(paints[0], 3), round(statistics.median(paints[1:]), 3)]}


def searching(open_page: bool, seconds: float = 20.0, workers: int = 2) -> Result:
    """Trial-epochs a second of a search with an epoch each 20 ms, while its study's page is open in
    a browser, or while it is not. The page and its browser have the machine with the search."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        url = f"sqlite:///{folder}/tuner.db"
        store = open_store(url)
        study = _new_study(store, url, "random", "none")
        slots_wanted(store, study, 100_000, None)
        pace = simulated_workers.PACE
        pace.report_s = 0.02
        options = SearchOptions(
            Limits(100_000, timeout_s=seconds),
            workers,
            tracking=False,
            back_end=simulated_workers.NAME,
        )
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(_page_of(url, folder))
            if open_page:
                stack.enter_context(_watching(f"{address}/studies/{study.uuid}"))
            began, cpu = time.perf_counter(), time.process_time()
            optimize(load_settings(url, None), store, study, options)
            lasted = time.perf_counter() - began
        store.close()
    cpu_s = time.process_time() - cpu
    return {
        "epochs_per_s": round(pace.reports / lasted, 2),
        "cpu_ms": round(1000 * cpu_s / pace.reports, 3),
    }


@contextlib.contextmanager
def _watching(address: str) -> Iterator[None]:
    """A browser in a process of its own that shows the page."""
    code = f"from benchmarks.pages import watch; watch({address!r})"
    path = f"{Path(__file__).parent.parent}:{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": path}
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()  # it is open
    try:
        yield
    finally:
        process.stdin.close()
        process.wait(30)


def watch(address: str) -> None:
    """Show a page until standard input ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_CHROMIUM)
        )
        page = browser.new_page()
        page.goto(address)
        print("open", flush=True)
        while not _has_ended():
            page.wait_for_timeout(200)  # its events are handled meanwhile
        browser.close()


def _has_ended() -> bool:
    import select

    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main("pages", looking, searching)
