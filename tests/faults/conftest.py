"""Faults: how often each is done, what is looked at afterwards, and the table of it all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_study import Bench

from faults.audit import Audit, audit
from tuner.storage import Store, open_store


@dataclass(frozen=True)
class Row:
    """One line of the table: a fault, how often it was done, what came of it."""

    fault: str
    times: int
    audit: Audit


ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often: `@pytest.mark.times(ci, soak)`."""
    ci, soak = request.node.get_closest_marker("times").args
    return soak if request.config.getoption("--soak") else ci


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Audits a study that was run to its end, for the table and for this test."""

    def run(bench: Bench, asked: int, fault: str, times: int) -> None:
        row = Row(fault, times, audit(bench, asked))
        request.config.stash.setdefault(ROWS, []).append(row)
        assert row.audit == Audit()

    return run


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    """A bench on SQLite and on PostgreSQL, without MLflow."""
    return Bench(tmp_path, store)


@pytest.fixture
def tracked_bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on files of its own, with an MLflow beside it."""
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store, f"sqlite:///{tmp_path}/mlflow.db")
    store.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash.get(ROWS, [])
    if not (rows and config.getoption("--soak")):
        return
    terminalreporter.section("faults")
    terminalreporter.write_line("| fault | times | lost | duplicated | zombies |")
    terminalreporter.write_line("|---|---|---|---|---|")
    for row in rows:
        counts = [len(lines) for lines in (row.audit.lost, row.audit.duplicated, row.audit.zombies)]
        cells = " | ".join(map(str, [row.fault, row.times, *counts]))
        terminalreporter.write_line(f"| {cells} |")
