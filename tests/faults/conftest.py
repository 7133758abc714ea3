"""Faults: how often each is done, what is looked at afterwards, and the table of it all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_study import Bench

from faults.audit import Audit, audit
from tuner.storage import Store, open_store
from tuner.tracking.client import open_client


@dataclass(frozen=True)
class Row:
    """One line of the table: a fault, how often it was done, what came of it."""

    fault: str
    times: int
    audit: Audit


ROWS = pytest.StashKey[list[Row]]()
MEASURES = pytest.StashKey[list[tuple[str, str]]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `daemons` are run with daemons too, in place of foreground searches; in a soak,
    all those that may."""
    if "by_daemon" in metafunc.fixturenames:
        also = metafunc.definition.get_closest_marker("daemons") is not None
        soaks = metafunc.config.getoption("--soak")
        choices = [False, True] if also or soaks else [False]
        metafunc.parametrize(
            "by_daemon", choices, indirect=True, ids=["", "daemon"][: len(choices)]
        )


@pytest.fixture
def by_daemon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether daemons search in place of foreground searches."""
    monkeypatch.setattr(Bench, "by_daemon", request.param)
    return bool(request.param)


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often: `@pytest.mark.times(ci, soak)`."""
    ci, soak = request.node.get_closest_marker("times").args
    return max(ci, round(soak * request.config.getoption("--soak")))


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Audits a study that was run to its end, for the table and for this test."""

    def run(bench: Bench, asked: int, fault: str, times: int) -> None:
        row = Row(fault, times, audit(bench, asked))
        request.config.stash.setdefault(ROWS, []).append(row)
        assert row.audit == Audit()

    return run


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Takes a figure for the second table: what, how much."""

    def note(what: str, figure: str) -> None:
        request.config.stash.setdefault(MEASURES, []).append((what, figure))

    return note


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    """A bench on SQLite and on PostgreSQL, without MLflow."""
    return Bench(tmp_path, store)


@pytest.fixture
def tracked_bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on files of its own, with an MLflow beside it, which has its tables."""
    open_client(f"sqlite:///{tmp_path}/mlflow.db")
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store, f"sqlite:///{tmp_path}/mlflow.db")
    store.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not config.getoption("--soak"):
        return
    say = terminalreporter.write_line
    terminalreporter.section("faults")
    say("| fault | times | lost | duplicated | zombies |")
    say("|---|---|---|---|---|")
    for row in config.stash.get(ROWS, []):
        counts = [len(lines) for lines in (row.audit.lost, row.audit.duplicated, row.audit.zombies)]
        say(f"| {' | '.join(map(str, [row.fault, row.times, *counts]))} |")
    say("")
    say("| measure | |")
    say("|---|---|")
    for what, figure in config.stash.get(MEASURES, []):
        say(f"| {what} | {figure} |")
