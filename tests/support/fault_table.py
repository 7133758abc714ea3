"""Faults: how often each is done, what is looked at afterwards, and the table of it all. Of the
folders whose tests do faults."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.audit import Audit, audit
from toy_study import Bench

from tuner.storage import Store

Check = Callable[..., None]


@dataclass(frozen=True)
class Row:
    """One line of the table: a fault, how often it was done, what came of it."""

    fault: str
    times: int
    audit: Audit


# How a trial ends that does as `toy_training` says of `act`: its state to Optuna, and its end.
OUTCOMES = {
    "learn": ("COMPLETE", "complete"),
    "crash": ("PRUNED", "worker_lost"),
    "raise": ("FAIL", "user_error"),
    "grow": ("PRUNED", "out_of_memory"),
    "hang": ("PRUNED", "time_limit"),
    "nan": ("PRUNED", "diverged"),
}
ROWS = pytest.StashKey[list[Row]]()
MEASURES = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often: `@pytest.mark.times(ci, soak)`; with 0, in a soak only."""
    ci, soak = request.node.get_closest_marker("times").args
    share = request.config.getoption("--soak")
    if not ci and not share:
        pytest.skip("it is done in a soak only")
    return max(ci, round(soak * share), 1)


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
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


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows, figures = config.stash.get(ROWS, []), config.stash.get(MEASURES, [])
    if not config.getoption("--soak") or not (rows or figures):
        return
    say = terminalreporter.write_line
    terminalreporter.section("faults")
    say("| fault | times | lost | duplicated | zombies |")
    say("|---|---|---|---|---|")
    for row in rows:
        counts = [len(lines) for lines in (row.audit.lost, row.audit.duplicated, row.audit.zombies)]
        say(f"| {' | '.join(map(str, [row.fault, row.times, *counts]))} |")
    say("")
    say("| measure | |")
    say("|---|---|")
    for what, figure in figures:
        say(f"| {what} | {figure} |")
    rows.clear()
    figures.clear()
